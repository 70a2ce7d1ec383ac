"""Environments: made once, checked, repaired, and explained when they cannot be had."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness import installer
from harness.environment import cached, missing, prepare, requirements
from harness.installer import Completed, run_guarded
from harness.model import App, ConfigurationError, MeasurementError, Server

SERVER = Server(
    name="demo",
    speaks="wsgi",
    packages=("h11",),
    command="demo {app}",
    concurrency="process",
    origin="servers.toml [servers.demo]",
)
APP = App(name="raw", speaks="wsgi", folder=Path("apps"), target="a:b", origin="apps.toml [raw]")
WITH_FLASK = replace(APP, name="flask", packages=("flask",))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of environments for this test alone."""
    monkeypatch.setenv("GATEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "environments"


class FakeUv:
    """A uv that makes environments out of empty files, or fails with the `says` it is given."""

    def __init__(self, distributions: Mapping[str, str] | None = None) -> None:
        self.distributions = {"h11": "0.16.0"} if distributions is None else dict(distributions)
        self.calls: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.says: str | None = None

    def __call__(self, argv: Sequence[str], environment: Mapping[str, str]) -> Completed:
        self.calls.append(list(argv))
        self.environments.append(environment)
        if "find" in argv:
            return Completed(0, f"{sys.executable}\nwarning: a broken shim")
        if "-I" in argv:
            return Completed(0, '["/opt/python3.13", "3.13.1t", "CPython"]\n')
        if "venv" in argv:
            program = Path(argv[-1]) / "bin" / "python"
            program.parent.mkdir(parents=True)
            program.symlink_to(sys.executable)
            return Completed(0, "")
        if self.says is not None:
            return Completed(1, self.says)
        home = Path(argv[argv.index("--python") + 1]).parent.parent
        for name, version in self.distributions.items():
            info = home / "lib" / "python3.11" / "site-packages" / f"{name}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").touch()
        return Completed(0, "")

    @property
    def builds(self) -> int:
        return sum("venv" in call for call in self.calls)


# --- what is asked for


@pytest.mark.parametrize(
    ("version", "packages", "expected"),
    [
        (None, ("gunicorn>=20", "gevent"), ("gunicorn>=20", "gevent")),
        ("23", ("gunicorn", "gevent"), ("gunicorn==23.*", "gevent")),
        ("0.30", ("uvicorn",), ("uvicorn==0.30.*",)),
        ("0.30.1", ("uvicorn",), ("uvicorn==0.30.1",)),
        ("1.0rc1", ("uvicorn",), ("uvicorn==1.0rc1",)),
        ("1.0.post1", ("uvicorn",), ("uvicorn==1.0.post1",)),
        ("1.0.dev3", ("uvicorn",), ("uvicorn==1.0.dev3",)),
        ("1.0+ours", ("uvicorn",), ("uvicorn==1.0+ours",)),
        ("0.30", ("uvicorn[standard]>=0.20,<1",), ("uvicorn[standard]==0.30.*",)),
        ("0.30", ("Uvi_corn", "uvi.corn>=1"), ("Uvi_corn==0.30.*", "uvi.corn==0.30.*")),
        ("1.2", ("a @ https://example.com/a.zip",), ("a==1.2.*",)),
    ],
)
def test_version_pins_the_first_package(
    version: str | None, packages: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    server = replace(SERVER, packages=packages, version=version)
    assert requirements(server, APP) == expected
    assert requirements(server, WITH_FLASK) == (*expected, "flask")


@pytest.mark.parametrize(
    ("server", "app", "words"),
    [
        (replace(SERVER, version="newest"), APP, ["demo", "servers.toml", "'newest'", "demo@1.2"]),
        (replace(SERVER, packages=("h11 =! 2",)), APP, ["servers.toml", "'h11 =! 2'"]),
        (SERVER, replace(APP, packages=("./mine",)), ["apps.toml [raw]", "'./mine'"]),
        (replace(SERVER, packages=(), version="1.0"), APP, ["demo@1.0", "leave the version out"]),
    ],
)
def test_nonsense_is_refused_in_one_line(server: Server, app: App, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        requirements(server, app)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


# --- the cache, with a uv that is not one


def test_a_miss_builds_and_a_hit_runs_nothing(cache: Path) -> None:
    uv = FakeUv({"h11": "0.16.0", "Zope_Interface": "7.0"})
    made = prepare(SERVER, APP, run=uv)
    assert [call[-1] for call in uv.calls] == [str(made.path), "h11"]
    assert made.path.parent == cache
    assert made.receipt == {"h11": "0.16.0", "zope-interface": "7.0"}
    assert made.python == platform.python_version()

    assert prepare(SERVER, APP, run=uv) == made
    assert uv.builds == 1
    assert cached() == [made]


def test_the_receipt_says_what_was_made() -> None:
    made = prepare(replace(SERVER, version="0.16"), WITH_FLASK, run=FakeUv())
    receipt = json.loads((made.path / "receipt.json").read_text())
    assert receipt == {
        "schema": 1,
        "made_for": "demo@0.16 with flask",
        "path": str(made.path),
        "requirements": ["h11==0.16.*", "flask"],
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "distributions": {"h11": "0.16.0"},
    }
    assert not list(made.path.glob("*.part"))


def test_one_environment_for_each_requirement_set_and_python() -> None:
    uv = FakeUv()
    server = replace(SERVER, packages=("h11", "Flask"))
    first = prepare(server, APP, run=uv)
    assert prepare(replace(SERVER, name="other"), WITH_FLASK, run=uv).path == first.path
    assert prepare(SERVER, APP, run=uv).path != first.path
    assert prepare(replace(server, version="0.16"), APP, run=uv).path != first.path
    newer = prepare(server, APP, python="3.13", run=uv)
    assert newer.path != first.path
    assert newer.python == "3.13.1t"
    assert prepare(replace(server, python="3.13"), APP, run=uv).path == newer.path


def test_what_has_to_be_built_is_known_without_building_it() -> None:
    place = missing(SERVER, APP)
    assert place is not None
    assert not place.exists()
    assert prepare(SERVER, APP, run=FakeUv()).path == place
    assert missing(SERVER, APP) is None
    assert missing(replace(SERVER, name="other"), APP) is None  # the same requirements
    assert missing(SERVER, WITH_FLASK) is not None
    assert missing(replace(SERVER, packages=("h11 =! 2",)), APP) is None  # prepare says so


def test_a_server_without_packages_gets_an_empty_environment() -> None:
    uv = FakeUv()
    assert prepare(replace(SERVER, packages=()), APP, run=uv).receipt == {}
    assert len(uv.calls) == 1


def test_requirements_file_is_installed_and_part_of_what_makes_an_environment_another(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "base.txt").write_text("sqlalchemy\n")
    (folder / "all.txt").write_text("--requirement=base.txt\n-c https://example.com/c.txt\nflask\n")
    uv = FakeUv()
    app = replace(APP, requirements=folder / "all.txt")
    first = prepare(SERVER, app, run=uv)
    assert uv.calls[-1][-3:] == ["h11", "--requirements", str(folder / "all.txt")]
    assert uv.calls[-1][uv.calls[-1].index("--directory") + 1] == str(folder)
    assert prepare(SERVER, APP, run=uv).path != first.path
    assert prepare(SERVER, app, run=uv).path == first.path

    (folder / "base.txt").write_text("sqlalchemy<2\n")
    assert prepare(SERVER, app, run=uv).path != first.path


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("flask>=3  # from ./here\n# /there\n", False),
        ("flask[async]==3.0.1; python_version > '3.8'\n", False),
        ("-e .\n", True),
        ("flask\n./mine\n", True),
        ("mine @ file:///mine\n", True),
        ("--find-links wheels/\n", True),
    ],
)
def test_place_of_requirements_counts_where_they_may_name_a_path(
    text: str, counts: bool, tmp_path: Path
) -> None:
    paths = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.txt").write_text(text)
        app = replace(APP, requirements=tmp_path / name / "r.txt")
        paths.add(prepare(SERVER, app, run=FakeUv()).path)
    assert len(paths) == (2 if counts else 1)


def test_requirements_that_include_themselves_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    assert prepare(SERVER, replace(APP, requirements=tmp_path / "a.txt"), run=FakeUv())


def test_requirements_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r gone.txt\n")
    with pytest.raises(
        ConfigurationError, match=r"gone\.txt: requirements cannot be read: No such"
    ):
        prepare(SERVER, replace(APP, requirements=tmp_path / "a.txt"), run=FakeUv())


def unlink_receipt(path: Path) -> None:
    (path / "receipt.json").unlink()


def tear_receipt(path: Path) -> None:
    (path / "receipt.json").write_text('{"schema": 1, "pa')


def age_receipt(path: Path) -> None:
    (path / "receipt.json").write_text('{"schema": 0}')


def lose_distribution(path: Path) -> None:
    (info,) = path.glob("lib/*/site-packages/*.dist-info")
    (info / "METADATA").unlink()
    info.rmdir()


def change_distribution(path: Path) -> None:
    (info,) = path.glob("lib/*/site-packages/*.dist-info")
    info.rename(info.with_name("h11-0.15.0.dist-info"))


def lose_interpreter(path: Path) -> None:
    (path / "bin" / "python").unlink()
    (path / "bin" / "python").symlink_to("/nowhere/python3")


@pytest.mark.parametrize(
    "harm",
    [
        unlink_receipt,
        tear_receipt,
        age_receipt,
        lose_distribution,
        change_distribution,
        lose_interpreter,
    ],
)
def test_what_is_not_whole_is_built_again(harm: Callable[[Path], None]) -> None:
    uv = FakeUv()
    made = prepare(SERVER, APP, run=uv)
    harm(made.path)
    assert cached() == []
    assert prepare(SERVER, APP, run=uv) == made
    assert uv.builds == 2
    assert cached() == [made]


def test_a_moved_cache_is_not_believed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(SERVER, APP, run=FakeUv())
    cache.parent.rename(cache.parent.with_name("moved"))
    monkeypatch.setenv("GATEBENCH_CACHE", str(cache.parent.with_name("moved")))
    assert cached() == []


def test_refresh_asks_again_and_keeps_the_old_one_when_it_fails(cache: Path) -> None:
    uv = FakeUv()
    old = prepare(SERVER, APP, run=uv)
    uv.distributions = {"h11": "0.17.0"}
    new = prepare(SERVER, APP, refresh=True, run=uv)
    assert "--refresh" in uv.calls[-1]
    assert (new.path, new.receipt) == (old.path, {"h11": "0.17.0"})

    uv.says = DEAD_INDEX
    with pytest.raises(MeasurementError, match="connect to refresh; the environment made before"):
        prepare(SERVER, APP, refresh=True, run=uv)
    assert cached() == [new]
    assert not list(cache.glob("*.old"))


def test_a_refresh_that_was_killed_gives_the_old_one_back() -> None:
    uv = FakeUv()
    made = prepare(SERVER, APP, run=uv)
    made.path.rename(made.path.with_suffix(".old"))  # what a kill leaves: the old one aside,
    (made.path / "bin").mkdir(parents=True)  # and a half-made one in its place
    assert cached() == []
    assert prepare(SERVER, APP, run=uv) == made
    assert uv.builds == 1


def test_uv_does_not_see_our_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(name, "/ours")
    kept = {"UV_INDEX_URL": "http://i", "PIP_CERT": "c", "HTTPS_PROXY": "p", "SSL_CERT_FILE": "s"}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    uv = FakeUv()
    prepare(SERVER, APP, run=uv)
    for seen in uv.environments:
        assert "/ours" not in seen.values()
        assert kept.items() <= seen.items()
    assert all("--no-python-downloads" in call for call in uv.calls)


# --- the words for what goes wrong

DEAD_INDEX = """\
Using Python 3.11.7 environment at: demo
error: Request failed after 3 retries in 9.3s
  cause: Failed to fetch: http://127.0.0.1:9/simple/h11/
  cause: error sending request for url (http://127.0.0.1:9/simple/h11/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""
SET_OFFLINE = """\
  \N{MULTIPLICATION SIGN} No solution found when resolving dependencies:
  ╰─▶ Because h11 was not found in the cache and you require h11, we can
      conclude that your requirements are unsatisfiable.

      hint: Packages were unavailable because the network was disabled. When
      the network is disabled, registry packages may only be read from the
      cache.
"""
NO_SUCH_MINOR = """\
error: No solution found when resolving dependencies
  cause: Because only h11[extra]<=0.54.0 is available and you require h11[extra]==9.9.*, we can \
conclude that your requirements are unsatisfiable.
"""
NO_SUCH_RELEASE = """\
  \N{MULTIPLICATION SIGN} No solution found when resolving dependencies:
  ╰─▶ Because there is no version of h11==9.9.9 and you require
      h11==9.9.9, we can conclude that your requirements are
      unsatisfiable.
"""
A_GAP = """\
error: No solution found when resolving dependencies
  cause: Because only the following versions of h11 are available:
             h11<19.11.dev0
             h11>19.12.dev0
         and you require h11==19.11.*, we can conclude that your requirements are unsatisfiable.
"""
NO_SUCH_PACKAGE = """\
  \N{MULTIPLICATION SIGN} No solution found when resolving dependencies:
  ╰─▶ Because gunicron was not found in the package
      registry and you require gunicron, we can conclude
      that your requirements are unsatisfiable.
"""
OLD_PYTHON = """\
error: No solution found when resolving dependencies
  cause: Because the current Python version (3.8.18) does not satisfy Python>=3.10 and \
uvicorn==0.54.0 depends on Python>=3.10, we can conclude that uvicorn==0.54.0 cannot be used.
         And because only the following versions of uvicorn are available:
             uvicorn<0.54.dev0
             uvicorn>=0.54.0
         and you require uvicorn>=0.54.dev0, we can conclude that your requirements are \
unsatisfiable.
"""
NO_COMPILER = """\
Resolved 1 package in 109ms
   Building httptools==0.9.0
error: Failed to build `httptools==0.9.0`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

         [stderr]
         error: command 'gcc' failed: No such file or directory

hint: Build failures usually indicate a problem with the package or the build environment
"""
NO_HEADER = """\
error: Failed to prepare distributions
  Caused by: Failed to download and build `uvloop==0.10.0`

      hint: This error likely indicates that you need to install a library
      that provides `longintrepr.h` for `uvloop@0.10.0`
"""


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (DEAD_INDEX, ["cannot reach the package index (Connection refused", "connect once"]),
        (DEAD_INDEX, ["no cached environment for it (h11, flask) exists"]),
        (SET_OFFLINE, ["cannot reach the package index (uv is set offline)"]),
        (
            "error: the argument `UV_OFFLINE` (environment variable) cannot be used with `--refr`",
            ["cannot reach the package index (uv is set offline)"],
        ),
        (NO_SUCH_MINOR, ["h11[extra]==9.9.* does not exist (only h11[extra]<=0.54.0 is avail"]),
        (NO_SUCH_RELEASE, ["h11==9.9.9 does not exist: ask for another version"]),
        (A_GAP, ["h11==19.11.* does not exist (only the following versions of h11 are"]),
        (NO_SUCH_PACKAGE, ["no package gunicron: check the spelling here and in apps.toml [raw]"]),
        (OLD_PYTHON, ["choose other versions. Because the current Python version (3.8.18) does"]),
        (NO_COMPILER, ["httptools==0.9.0 could not be built (command 'gcc' failed: No such"]),
        (NO_HEADER, ["uvloop==0.10.0 could not be built (This error", "provides `longintrepr.h`"]),
        ("error: x\n  cause: 503 Service Unavailable\n", ["uv failed (503 Service Unavailable)"]),
        ("", ["it said nothing"]),
    ],
)
def test_uv_is_explained_in_one_line(cache: Path, says: str, words: list[str]) -> None:
    uv = FakeUv()
    uv.says = says
    with pytest.raises(MeasurementError) as caught:
        prepare(replace(SERVER, version=None), WITH_FLASK, run=uv)
    message = str(caught.value)
    assert message.startswith("demo (servers.toml [servers.demo]): ")
    assert "\n" not in message
    assert all(word in message for word in words), message
    assert caught.value.log.strip() == "\n".join(says.splitlines()[-20:]).strip()
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_without_network_the_cached_servers_are_named() -> None:
    uv = FakeUv()
    prepare(replace(SERVER, name="first"), APP, run=uv)
    prepare(replace(SERVER, name="second", packages=("wsproto",)), APP, run=uv)
    uv.says = DEAD_INDEX
    with pytest.raises(MeasurementError, match=r"is cached: first with raw, second with raw$"):
        prepare(SERVER, WITH_FLASK, run=uv)


def test_a_python_that_is_not_there_is_said_with_the_cure() -> None:
    def no_python(argv: Sequence[str], _: Mapping[str, str]) -> Completed:
        assert argv[-4:] == ("python", "find", "--system", "3.99")
        return Completed(2, "error: No interpreter found for Python 3.99")

    with pytest.raises(MeasurementError, match=r"Python 3\.99.*uv python install 3\.99") as caught:
        prepare(SERVER, APP, python="3.99", run=no_python)
    assert "No interpreter found" in caught.value.log


def test_a_build_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(_: Sequence[str], variables: Mapping[str, str]) -> Completed:
        # The shell's child holds the pipes; only the end of the whole group frees us.
        return run_guarded(["sh", "-c", "echo building >&2; sleep 60; true"], variables)

    monkeypatch.setattr(installer, "LIMIT_S", 0.3)
    began = time.monotonic()
    with pytest.raises(MeasurementError, match="minutes and was ended") as caught:
        prepare(SERVER, APP, run=stuck)
    assert time.monotonic() - began < 10
    assert caught.value.log == "building"


def test_a_program_that_cannot_be_started_is_not_blamed_on_the_cache() -> None:
    def gone(argv: Sequence[str], variables: Mapping[str, str]) -> Completed:
        return run_guarded(["/nowhere/uv", *argv[1:]], variables)

    with pytest.raises(MeasurementError, match="cannot be started"):
        prepare(SERVER, APP, run=gone)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GATEBENCH_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match="set GATEBENCH_CACHE to") as caught:
        prepare(SERVER, APP, run=FakeUv())
    assert "\n" not in str(caught.value)
    assert cached() == []


def test_an_interrupted_build_leaves_nothing(cache: Path) -> None:
    def interrupted(argv: Sequence[str], variables: Mapping[str, str]) -> Completed:
        if "pip" in argv:
            raise KeyboardInterrupt
        return FakeUv()(argv, variables)

    with pytest.raises(KeyboardInterrupt):
        prepare(SERVER, APP, run=interrupted)
    assert not [path for path in cache.iterdir() if path.is_dir()]


# --- with the real uv

RACER = """
import sys, time
from pathlib import Path
from harness.environment import prepare
from harness.installer import run_guarded
from harness.tests.test_environment import APP, SERVER

def run(argv, environment):
    with open(sys.argv[1], "a") as log:
        log.write("pip\\n" if "pip" in argv else "venv\\n")
    time.sleep(0.3)  # long enough for the other to come by
    return run_guarded(argv, environment)

print("ready", flush=True)
sys.stdin.readline()
print(prepare(SERVER, APP, run=run).receipt)
"""


# Dies where it hurts: everything is installed, and only the receipt is missing.
KILLED = """
import os, signal
from harness.environment import prepare
from harness.installer import run_guarded
from harness.tests.test_environment import APP, SERVER

def run(argv, environment):
    done = run_guarded(argv, environment)
    if "pip" in argv:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

prepare(SERVER, APP, run=run)
"""


@pytest.fixture
def closed_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a network: nothing listens where uv looks, and uv remembers nothing."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    monkeypatch.setenv("UV_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


@pytest.mark.servers
def test_a_real_environment_holds_what_its_receipt_says() -> None:
    made = prepare(SERVER, APP)
    asked = "import h11, sys; print(h11.__version__, sys.prefix)"
    said = subprocess.check_output([made.bin / "python", "-c", asked], text=True).split()
    assert said == [made.receipt["h11"], str(made.path)]
    assert list(made.receipt) == ["h11"]
    assert list(made.path.glob("lib/*/site-packages/h11/__pycache__/*.pyc"))


@pytest.mark.servers
@pytest.mark.parametrize("harm", [unlink_receipt, lose_distribution])
def test_a_real_environment_is_repaired(harm: Callable[[Path], None]) -> None:
    made = prepare(SERVER, APP)
    if harm is lose_distribution:
        (info,) = made.path.glob("lib/*/site-packages/h11-*.dist-info")
        info.rename(made.path / "lost")
    else:
        harm(made.path)
    assert prepare(SERVER, APP) == made
    subprocess.check_call([made.bin / "python", "-c", "import h11"])


@pytest.mark.servers
def test_of_two_processes_one_builds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    root = Path(installer.__file__).parent.parent
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(log)],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=60)[0] for racer in racers]
    assert answers[0] == answers[1] != ""
    assert log.read_text().split() == ["venv", "pip"]


@pytest.mark.servers
def test_a_build_that_was_killed_is_made_good(cache: Path) -> None:
    root = Path(installer.__file__).parent.parent
    died = subprocess.run(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    (half,) = [path for path in cache.iterdir() if path.is_dir()]
    assert cached() == []
    made = prepare(SERVER, APP)
    assert made.path == half
    subprocess.check_call([made.bin / "python", "-c", "import h11"])


@pytest.mark.servers
@pytest.mark.parametrize(
    ("server", "words"),
    [
        (replace(SERVER, version="9.9"), "h11==9.9.* does not exist (only h11<="),
        (replace(SERVER, version="9.9.9"), "h11==9.9.9 does not exist"),
        (replace(SERVER, packages=("gatebench-no-such-package",)), "no package gatebench-no-such"),
    ],
)
def test_a_real_index_says_no(server: Server, words: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        prepare(server, APP)
    assert words in str(caught.value)
    assert caught.value.log


@pytest.mark.servers
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("h11<0.14", ["requirements cannot be met", "h11<0.14", "h11==0.16.*"]),
        ("gatebench-no-such-package", ["no package gatebench-no-such-package", "mine.txt"]),
    ],
)
def test_requirements_that_cannot_be_met_show_uvs_reason(
    wanted: str, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text(wanted)
    with pytest.raises(MeasurementError) as caught:
        prepare(replace(SERVER, version="0.16"), replace(APP, requirements=tmp_path / "mine.txt"))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.servers
def test_a_cached_environment_needs_no_network(request: pytest.FixtureRequest) -> None:
    made = prepare(SERVER, APP)
    request.getfixturevalue("closed_index")
    assert prepare(SERVER, APP) == made
    with pytest.raises(MeasurementError, match="the environment made before is kept"):
        prepare(SERVER, APP, refresh=True)
    with pytest.raises(MeasurementError, match=r"\(wsproto\) exists.*cached: demo with raw$"):
        prepare(replace(SERVER, packages=("wsproto",)), APP)
    assert cached() == [made]
    subprocess.check_call([made.bin / "python", "-c", "import h11"])


@pytest.mark.usefixtures("closed_index")
@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_network_and_cache(offline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", offline)
    with pytest.raises(MeasurementError, match="cannot reach the package index") as caught:
        prepare(SERVER, APP)
    assert "no cached environment for it (h11) exists: connect once" in str(caught.value)


def test_real_uv_finds_a_python_by_path_even_that_of_an_environment(cache: Path) -> None:
    server = replace(SERVER, packages=())
    assert prepare(server, APP, python=sys.executable) == prepare(server, APP)
    with pytest.raises(MeasurementError, match="no usable Python /nowhere/python: check the path"):
        prepare(server, APP, python="/nowhere/python")
    with pytest.raises(MeasurementError, match=r"uv python install 3\.99"):
        prepare(server, APP, python="3.99")
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1
