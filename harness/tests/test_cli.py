"""Mistakes: one clear line and the right exit code, before anything is started."""

import json

import pytest

from harness.options import without_secrets
from harness.tests.commands import called, gatebench


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "gunicorn-uvicron"], ["unknown server 'gunicorn-uvicron'", "gunicorn-uvicorn"]),
        (["run", "uvicorn", "--scenario", "helo"], ["unknown scenario 'helo'", "hello"]),
        (["run", "uvicorn", "--app", "djnago"], ["unknown app 'djnago'"]),
        (["run", "uvicorn", "--app", "wsgi"], ["app wsgi speaks WSGI", "uvicorn speaks ASGI"]),
        (["run", "uvicorn@latest"], ["'latest' is not a version"]),
        (
            ["run", "waitress", "gunicorn-sync", "uvicorn", "--scenario", "websocket-echo"],
            ["websocket-echo needs websocket", "server waitress", "server gunicorn-sync"],
        ),
        (["run", "uvicorn@0.54..0.30"], ["runs backwards; write uvicorn@0.30..0.54"]),
        (["run", "uvicorn@0.30.."], ["is not a range of versions; write uvicorn@1.2..1.5"]),
        (["run", "uvicorn@0.30,x"], ["unknown server 'x'"]),
        (["run", "uvicorn", "--app", "gone:app"], ["there is no module gone in", "--app-dir"]),
        (["run", "--app", "gone:app"], ["--interface wsgi", "no server is named"]),
        (
            ["run", "waitress", "--app", "a:b", "--scenario", "hello"],
            ["--scenario is for apps of ours"],
        ),
        (
            ["run", "waitress", "--app-env", "A=1"],
            ["--app-env goes with --app package.module:app"],
        ),
        (["run", "waitress", "--request", "/", "--scenario", "hello"], ["drop one"]),
        (["run", "waitress", "--sweep", "users=4..1"], ["--sweep users=4..1: does not rise"]),
        (
            ["run", "waitress", "--sweep", "workers=1..2"],
            ["--sweep workers: waitress has no number of workers to choose"],
        ),
        (["run", "uvicorn+cpu=5"], ["'cpu=5' is not an injection; write cpu=5%"]),
        (["capacity", "uvicorn"], ["the following arguments are required: --slo"]),
        (["capacity", "uvicorn", "--slo", "p99>1s"], ["--slo p99>1s: write a time"]),
        (["tune", "gunicorn-*"], ["tune advises on one server", "gunicorn-*"]),
        (["tune", "werkzeug"], ["werkzeug has no number of workers or threads to choose"]),
        (["run", "uvicorn", "--expect-status", "99"], ["'99' is not a status from 200 to 599"]),
        (["serve", "uvicorn@0.30,0.40"], ["serve starts one server"]),
        (["run", "uvicorn", "--rate", "0"], ["'0' is not a rate per second"]),
        (["run", "uvicorn", "--arrivals", "poisson"], ["--arrivals goes with --rate"]),
        (
            ["run", "uvicorn", "--rate", "9", "--scenario", "long-poll"],
            ["scenario long-poll is asked by events"],
        ),
        (["run", "uvicorn", "--users", "none"], ["'none' is not a whole number"]),
        (["run", "uvicorn", "--duration", "soon"], ["'soon' is not a duration"]),
        (["run", "uvicorn", "--duration", "10ms"], ["too short to measure"]),
        (["run", "uvicorn", "--servers", "missing.toml"], ["missing.toml: cannot be read"]),
        (["run", "uvicorn", "--results", "file/below"], ["file/below", "--results DIR"]),
        (["serve", "gunicorn-*"], ["serve starts one server", "gunicorn-*"]),
        (["compare", "uvicorn"], ["the following arguments are required: B"]),
        (["compare", "gunicorn-*", "uvicorn"], ["compare takes two servers", "gunicorn-*"]),
        (["compare", "uvicorn", "uvicorn", "--extend", "--budget", "9m"], ["leave one out"]),
        (["report"], ["holds no run yet"]),
        (["report", "nothing"], ["nothing: no such run"]),
        (["fly"], ["invalid choice: 'fly'"]),
        (
            ["run", "uvicorn", "--block", "8"],
            ["arguments: --block 8; did you mean --blocks?", "gatebench run --help"],
        ),
        (["history", "check", "--stritc"], ["did you mean --strict?"]),
        (["run", "uvicorn", "--hurry=2"], ["unrecognized arguments: --hurry=2 (see"]),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(arguments, words, tmp_path):
    (tmp_path / "file").touch()
    finished = called(*arguments, cwd=tmp_path)
    assert finished.code == 2
    assert finished.out == ""
    for word in words:
        assert word in finished.complaint
    assert not (tmp_path / "results").exists()


def test_damaged_run_is_one_line(tmp_path):
    run = tmp_path / "results" / "broken"
    (run / "trials").mkdir(parents=True)
    (run / "run.json").write_text('{"schema": 1, "cut')
    finished = gatebench("report", "broken", cwd=tmp_path)
    assert finished.code == 2
    assert "run.json: is damaged" in finished.complaint
    (run / "run.json").write_text('{"schema": 99}')
    assert "schema 99" in gatebench("report", "broken", cwd=tmp_path).complaint


def test_row_with_a_mistake_is_named_with_file_and_row(tmp_path):
    (tmp_path / "mine.toml").write_text('[servers.mine]\nspeeks = "wsgi"\n')
    finished = called("list", "--servers", "mine.toml", cwd=tmp_path)
    assert finished.code == 2
    assert (
        "mine.toml [servers.mine]: unknown key 'speeks'; did you mean speaks?" in finished.complaint
    )


def test_list_shows_rows_as_json_and_as_tables(tmp_path):
    document = gatebench("list", "--json", cwd=tmp_path).document
    assert {"servers", "apps", "scenarios"} < document.keys()
    names = [row["name"] for row in document["servers"]]
    assert {"gunicorn-uvicorn", "uvicorn", "uvicorn-h11", "waitress"} <= set(names)
    shown = gatebench("list", cwd=tmp_path)
    assert shown.code == 0
    assert all(name in shown.out for name in names)


def test_doctor_names_a_command_for_everything_that_is_missing(tmp_path):
    finished = gatebench("doctor", "--json", cwd=tmp_path)
    checks = finished.document["checks"]
    assert finished.code == (0 if finished.document["ok"] else 3)
    assert all(check["mend"] for check in checks if check["state"] != "ok")
    (tmp_path / "file").touch()
    broken = gatebench("doctor", "--json", "--results", "file", cwd=tmp_path)
    assert broken.code == 3
    states = {check["name"]: check["state"] for check in json.loads(broken.out)["checks"]}
    assert states["results folder can be written"] == "missing"


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        (["run", "--app-env", "DB=p:w@h", "a"], ["run", "--app-env", "DB=...", "a"]),
        (["--app-env=DB=x", "--app-env", "B="], ["--app-env=DB=...", "--app-env", "B=..."]),
        (["--request-header", "X-Key: s=1"], ["--request-header", "X-Key=..."]),
        (["--request-body", '{"password": 1}'], ["--request-body", "..."]),
        (["--request", "GET /x=1", "a=b"], ["--request", "GET /x=1", "a=b"]),
    ],
)
def test_stored_command_keeps_secrets_out(words, stored):
    assert without_secrets(words) == stored
