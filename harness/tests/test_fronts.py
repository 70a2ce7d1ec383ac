"""Proxies before servers: their rows, their life beside a server's, and what is told apart."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time

import pandas as pd
import psutil
import pytest

from harness import debian
from harness.analyze import cells_frame, comparisons_frame, trials_frame
from harness.analyze.verdict import SERVER_LIMITED
from harness.cells import Budget, cell_of, make_cells
from harness.environment import prepare
from harness.front import VARIABLES, stand, unfit
from harness.launch import launch, upstream
from harness.model import ConfigurationError, Load, MeasurementError
from harness.registry import load_registry, unmet_need
from harness.report.document import document
from harness.report.table import ranking, remarks
from harness.tests import builders
from harness.tests.builders import Process, RunBuilder
from harness.tests.commands import gatebench, served, started
from harness.tests.contract import broken, complaint
from harness.verify import checks_for

REGISTRY = load_registry()
BUDGET = Budget(workers=2, threads=4, load=Load(1))
FRONT = """
[fronts.mine]
about = "mine"
command = "mine -c {config} -p {folder}"
template = "mine.conf"
reaches = "http"
receipt = "mine -v"
"""
SERVER = """
[servers.bare]
speaks = "wsgi"
packages = ["bare"]
command = "bare {app} --port {port}"
concurrency = "process"
"""


@pytest.fixture
def table(tmp_path):
    """A table of the user's own, beside a template."""
    (tmp_path / "mine.conf").write_text("listen {{ listen }};\n", "utf-8")
    return tmp_path / "mine.toml"


def registry_of(table, text):
    table.write_text(text, "utf-8")
    return load_registry([table])


def mistake_in(table, text):
    with pytest.raises(ConfigurationError) as caught:
        registry_of(table, text)
    line = str(caught.value)
    assert "\n" not in line
    assert str(table) in line
    return line


def labels(*patterns):
    return [server.label for server in REGISTRY.select_servers(patterns)]


# -- rows ----------------------------------------------------------------------------------------


def test_every_way_to_reach_a_server_is_shown_before_some():
    shown = [row for row in REGISTRY.shown().values() if row.front]
    assert len(shown) >= 6
    assert {row.front.reaches for row in shown} == {"http", "unix", "uwsgi"}
    assert {row.front.program for row in shown} == {"nginx", "apache2"}
    assert all(row.front.notes for row in shown)


def test_front_of_the_users_own_stands_before_any_server(table):
    registry = registry_of(table, FRONT + 'before = ["bare"]\n' + SERVER)
    (row,) = registry.select_servers(["mine+uvicorn@0.30"])
    assert (row.label, row.front.origin) == ("mine+uvicorn@0.30", f"{table} [fronts.mine]")
    assert row.front.template == table.with_name("mine.conf")
    assert "mine+bare" in registry.shown()


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ('stpo = "QUIT"', "unknown key 'stpo'; did you mean stop?"),
        ('stop = "LEAVE"', "stop = 'LEAVE' is not a signal"),
        ('before = ["uvicron"]', "before: unknown server 'uvicron'; did you mean uvicorn"),
        ('cannot = { ecko = "?" }', "cannot: unknown check 'ecko'; did you mean echo"),
        ('version = "1"', "unknown key 'version'"),
    ],
)
def test_mistake_in_a_row_is_named(table, key, what):
    assert what in mistake_in(table, FRONT + key + "\n")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('about = "mine"\n', "", "the key 'about' is missing"),
        ('"http"', '"https"', 'must be one of "http", "unix", "uwsgi"'),
        ("{config}", "{confg}", "command: unknown placeholder {confg}; did you mean {config}?"),
        ("-c {config}", "", "command: the placeholder {config} is missing"),
        ("mine.conf", "mien.conf", "mien.conf: cannot be read: No such file or directory"),
        ('"mine -v"', '"mine \'v"', "receipt: No closing quotation"),
        ("fronts.", "front.", "is not a table gatebench knows; did you mean fronts?"),
        ("fronts.mine", 'fronts."a+b"', "a name has no spaces, commas, @, +, # or wildcards"),
    ],
)
def test_mistake_in_the_words_of_a_row_is_named(table, old, new, what):
    assert what in mistake_in(table, FRONT.replace(old, new))


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("listen {{ lisen }};", "mine.conf: unknown placeholder {{ lisen }}; there are listen, "),
        ("\n{% if socket %}", "mine.conf, line 2: Unexpected end of template"),
    ],
)
def test_mistake_in_a_template_is_named(table, template, what):
    table.with_name("mine.conf").write_text(template, "utf-8")
    assert what in mistake_in(table, FRONT)


def test_template_is_given_what_its_table_says(table):
    text = "".join(f"{{{{ {name} }}}}" for name in VARIABLES)
    table.with_name("mine.conf").write_text(text, "utf-8")
    registry_of(table, FRONT)


@pytest.mark.parametrize("reaches", ["unix", "uwsgi"])
def test_front_is_not_shown_before_a_server_that_cannot_listen_for_it(table, reaches):
    text = FRONT.replace('"http"', f'"{reaches}"') + 'before = ["bare"]\n' + SERVER
    line = mistake_in(table, text)
    assert "before: front mine cannot stand before server bare" in line
    assert f"`{reaches}`" in line


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ('unix = "--uds {sockte}"', "unix: unknown placeholder {sockte}; did you mean {socket}?"),
        ('uwsgi = "--uwsgi"', "uwsgi: the placeholder {socket} is missing"),
        ('unix = "unix:{socket}"', "is an address and stands for {host}:{port}, which the command"),
    ],
)
def test_mistake_in_how_a_server_listens_elsewhere_is_named(table, key, what):
    assert what in mistake_in(table, SERVER + key + "\n")


def test_server_listens_elsewhere_by_options_an_address_or_a_whole_command():
    row = builders.server(command="demo -b {host}:{port} {app}")
    assert row.command_with("--uds {socket}") == "demo -b {host}:{port} {app} --uds {socket}"
    assert row.command_with("unix:{socket}") == "demo -b unix:{socket} {app}"
    assert row.command_with("other {app} {socket}") == "other {app} {socket}"


# -- what is asked for ---------------------------------------------------------------------------


def test_globs_work_on_both_parts_and_mean_what_can_stand_so():
    assert labels("nginx*+uvicorn") == ["nginx+uvicorn", "nginx-unix+uvicorn"]
    assert labels("*-uwsgi+uwsgi*") == [
        f"{front}-uwsgi+{server}"
        for front in ("nginx", "apache")
        for server in ("uwsgi", "uwsgi-threads", "uwsgi-gevent")
    ]


def test_star_is_all_that_is_shown():
    assert labels("*") == list(REGISTRY.shown())
    assert labels("nginx-unix+*")[:1] == ["nginx-unix+gunicorn-sync"]


def test_version_is_the_servers():
    assert labels("nginx+gunicorn-g*@23")[0] == "nginx+gunicorn-gthread@23"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("nginx-unix+bjoern", "before server bjoern, whose row has no `unix`: how it listens"),
        ("*-uwsgi+uvicorn", "front nginx-uwsgi cannot stand before server uvicorn, whose row"),
        ("ngnix+uvicorn", "unknown front 'ngnix'; did you mean nginx"),
        ("nginx+uvicron", "unknown server 'uvicron'; did you mean uvicorn"),
        ("+uvicorn", "unknown front ''"),
        ("nginx+", "unknown server ''"),
    ],
)
def test_front_that_cannot_be_is_refused_in_a_line(name, what):
    with pytest.raises(ConfigurationError) as caught:
        REGISTRY.select_servers([name])
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_front_that_cannot_be_is_refused_before_anything_starts(tmp_path):
    finished = gatebench("run", "nginx-uwsgi+uvicorn", "--scenario", "hello", cwd=tmp_path)
    assert finished.code == 2
    assert "cannot stand before server uvicorn" in finished.complaint
    assert not (tmp_path / "results").exists()


def test_scenario_that_a_front_breaks_is_refused_with_its_reason():
    (row,) = REGISTRY.select_servers(["nginx-unix+uvicorn"])
    streaming = builders.scenario("streaming", checks=("stream",))
    why = unmet_need(row, REGISTRY.app_for(row, None), streaming)
    assert why is not None
    assert "which front nginx-unix cannot give: nginx reads no answer while it sends" in why


def test_listed_servers_hold_the_combinations(tmp_path):
    listed = gatebench("list", "--json", cwd=tmp_path).document
    assert "nginx+uvicorn" in {row["name"] for row in listed["servers"]}
    assert {"nginx", "apache"} <= {row["name"] for row in listed["fronts"]}
    assert unfit(REGISTRY.fronts["nginx"], REGISTRY.servers["bjoern"]) is None


# -- what is told of it --------------------------------------------------------------------------


def fronted(tmp_path, server_cpu, proxy_cpu):
    row = REGISTRY.fronts["nginx"]
    it = builders.cell("demo", front=row)
    built = RunBuilder(tmp_path, [it])
    processes = (
        Process("server", 100, cpu=server_cpu),
        Process("proxy", 300, cpu=proxy_cpu / 2, pss=8 * builders.MIB),
        Process("proxy", 301, cpu=proxy_cpu / 2, pss=4 * builders.MIB),
        Process("generator", 200, cpu=0.3),
    )
    built.measured(it, builders.closed(), processes)
    return built.read()


def test_proxys_cpu_and_memory_are_told_apart(tmp_path):
    run = fronted(tmp_path, server_cpu=0.4, proxy_cpu=0.2)
    trials = trials_frame(run)
    (trial,) = trials.to_dict("records")
    assert (trial["server"], trial["front"]) == ("nginx+demo", "nginx")
    assert trial["server_cpu_s_per_1k"] == pytest.approx(0.4 * 5 / 1000 * 1000, rel=0.01)
    assert trial["proxy_cpu_s_per_1k"] == pytest.approx(0.2 * 5 / 1000 * 1000, rel=0.01)
    assert trial["server_pss_bytes"] == 50 * builders.MIB
    assert trial["proxy_pss_bytes"] == 12 * builders.MIB
    cells = cells_frame(trials)
    comparisons = comparisons_frame(run, trials)
    (cell,) = document(run, cells, comparisons)["cells"]
    assert cell["front"] == "nginx"
    assert cell["proxy_cpu_s_per_1k"] == pytest.approx(1.0, rel=0.01)
    assert cell["proxy_pss_bytes"] == 12 * builders.MIB
    (remark,) = remarks(ranking(cells, comparisons, "hello"))
    assert remark.startswith("nginx+demo: the proxy (nginx) used 1.00 CPU s/1k beside the server's")


def test_without_a_front_nothing_is_told_of_one(tmp_path):
    it = builders.cell("demo")
    built = RunBuilder(tmp_path, [it])
    built.measured(it, builders.closed())
    (trial,) = trials_frame(built.read()).to_dict("records")
    figures = ("front", "proxy_cpu_s", "proxy_cpu_s_per_1k", "proxy_cpu_share", "proxy_pss_bytes")
    assert all(pd.isna(trial[name]) for name in figures)


def test_server_and_proxy_together_are_at_the_limit_of_the_servers_cpus(tmp_path):
    (trial,) = trials_frame(fronted(tmp_path, 0.6, 0.38)).to_dict("records")
    assert trial["verdict"] == SERVER_LIMITED
    assert "the server's CPUs were 98% busy (38% by the proxy)" in trial["reasons"]


# -- its life ------------------------------------------------------------------------------------


def cell_for(name, registry=REGISTRY, scenario="hello", budget=BUDGET):
    (server,) = registry.select_servers([name])
    return cell_of(server, registry.scenarios[scenario], budget, registry)


def below(owner):
    """What a process has started, each with its command line; nginx wipes the mark of its tree."""
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(owner).children(recursive=True)
        return {process: " ".join(process.cmdline()) for process in started}
    return {}


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition()
        time.sleep(0.02)


def test_missing_program_is_named_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "PROGRAMS", str(tmp_path))
    with (
        pytest.raises(
            MeasurementError, match=r"fronts.nginx.* needs nginx .*apt-get install nginx"
        ),
        stand(cell_for("nginx+uvicorn"), log=tmp_path / "proxy.log", port=1),
    ):
        pass
    assert not (tmp_path / "proxy.log").exists()


needs_both = pytest.mark.skipif(
    not all(shutil.which(it, path=debian.PROGRAMS) for it in ("nginx", "apache2"))
    and "CI" not in os.environ,
    reason="needs nginx and Apache: apt-get install nginx apache2-bin",
)
real = [pytest.mark.servers, needs_both]


def marked(*names, slow=()):
    each = [pytest.param(name, marks=real) for name in names]
    return each + [pytest.param(name, marks=[*real, pytest.mark.slow]) for name in slow]


@pytest.mark.parametrize(
    "name",
    marked(
        "nginx+uvicorn", "nginx-unix+gunicorn-gthread", "nginx-uwsgi+uwsgi", "apache+uvicorn",
        slow=("apache-unix+gunicorn-gthread", "apache-uwsgi+uwsgi"),
    ),
)  # fmt: skip
def test_app_answers_the_contract_through_the_proxy_but_for_what_its_row_says(name, tmp_path):
    cell = cell_for(name)
    environment = prepare(cell.server, cell.app)
    front, speaks = cell.front, cell.server.speaks
    with (
        upstream(tmp_path / "upstream.log") as slow,
        launch(
            cell, environment, log=tmp_path / "server.log",
            extra_env={"GATEBENCH_UPSTREAM": slow, "GATEBENCH_HOLD_S": "0.3"},
        ) as running,
    ):  # fmt: skip
        running.wait_ready()
        assert len(running.workers_seen) == cell.workers
        for check in checks_for(speaks):
            if check not in front.cannot and check not in cell.server.cannot:
                assert complaint(check, running) is None
        if not front.cannot:
            assert (running.stop().gone, running.front.ending.how) == (True, front.stop)
        for check in front.cannot:
            assert broken(check, running) is not None, check


@pytest.mark.servers
@needs_both
def test_run_through_proxies_is_measured_and_told_apart(tmp_path):
    names = ["nginx+uvicorn", "nginx-unix+gunicorn-gthread", "apache+gunicorn-sync"]
    finished = gatebench(
        "run", *names, "--scenario", "hello", "--duration", "1s", "--warmup", "500ms", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert finished.code in (0, 3), finished.err  # 3: others here made a trial worth nothing
    cells = {cell["server"]: cell for cell in finished.document["cells"]}
    assert set(cells) == set(names)
    for name, cell in cells.items():
        assert cell["front"] == name.partition("+")[0]
        assert cell["errors"] == 0
        assert 0 < cell["proxy_cpu_s_per_1k"] < 10 * cell["server_cpu_s_per_1k"]
        assert cell["proxy_pss_bytes"] > builders.MIB
        assert "nginx" in cell["versions"] or "apache2" in cell["versions"]
    (run,) = (tmp_path / "results").iterdir()
    for trial in (run / "trials").iterdir():
        facts = json.loads((trial / "trial.json").read_text())
        assert facts["front_ending"]["how"] in ("QUIT", "WINCH")
        assert facts["front_ending"]["gone"]
        assert "127.0.0.1" in (trial / "proxy.conf").read_text()


@pytest.mark.servers
@needs_both
def test_proxy_that_is_killed_fails_its_trial_and_the_next_is_measured(tmp_path):
    options = ["--scenario", "websocket-echo,hello", "--duration", "1s", "--warmup", "500ms"]
    seen = {}

    # this seed has hello first
    def under_load():
        now = below(harness.pid)
        seen.update(now)
        return all(any(part in line for line in now.values()) for part in ("nginx: m", "plugin"))

    with started(
        "run", "nginx+uvicorn", *options, "--seed", "1", "--json", cwd=tmp_path
    ) as harness:
        wait_until(under_load, 60)
        next(process for process, line in seen.items() if "nginx: m" in line).kill()
        out, _ = harness.communicate(timeout=60)
    cells = {cell["scenario"]: cell for cell in json.loads(out)["cells"]}
    assert (harness.returncode, cells["hello"]["verdict"]) == (3, "failed")
    assert "proxy nginx ended with exit code -9 under load" in cells["hello"]["reasons"][0]
    assert not [process for process in seen if process.is_running()]
    messages = cells["websocket-echo"]
    assert (messages["errors"], messages["requests"] > 1000) == (0, True)
    assert messages["proxy_cpu_s_per_1k"] > 0


@pytest.mark.parametrize("name", marked("nginx-unix+gunicorn-sync", "apache+gunicorn-sync"))
def test_killed_harness_leaves_no_process_of(name, tmp_path):
    cell = cell_for(name)
    prepare(cell.server, cell.app)
    with started("serve", name, "--json", cwd=tmp_path) as harness:
        assert served(harness)["server"] == name
        seen = below(harness.pid)
        assert any(cell.front.program in line for line in seen.values())
        harness.kill()
    wait_until(lambda: not [process for process in seen if process.is_running()], seconds=3.0)


NGINX = FRONT.replace("mine -", "nginx -")


@pytest.mark.servers
@needs_both
@pytest.mark.parametrize(
    ("template", "reason", "said"),
    [
        ("nonsense;", "proxy mine ended with exit code 1 before it was ready", "unknown directive"),
        (
            'daemon off; pid "{{ folder }}/pid"; error_log stderr; events {} http { access_log off;'
            " server { listen {{ listen }}; location / { proxy_pass http://127.0.0.1:1; } } }",
            "did not answer GET / right within 2 s: mine answers 502",
            "connect() failed",
        ),
    ],
)
def test_proxy_that_does_not_serve_is_a_failure_with_its_reason(
    table, tmp_path, template, reason, said
):
    table.with_name("mine.conf").write_text(template, "utf-8")
    cell = cell_for("mine+gunicorn-sync", registry_of(table, NGINX))
    environment = prepare(cell.server, cell.app)
    with launch(cell, environment, log=tmp_path / "server.log") as running:
        with pytest.raises(MeasurementError) as caught:
            running.wait_ready(within_s=2.0)
        assert reason in str(caught.value)
        assert said in caught.value.log


def test_named_combinations_are_cells_with_their_front():
    cells, _ = make_cells(REGISTRY, ["nginx+uvicorn", "uvicorn"], ["hello"], BUDGET)
    assert [cell.front and cell.front.name for cell in cells] == ["nginx", None]
    assert cells[0].name == "nginx+uvicorn · asgi · hello"
