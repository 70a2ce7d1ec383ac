"""What a server needs of the system is named with one command, before anything is compiled."""

from dataclasses import replace

import pytest

from harness import debian, doctor
from harness.environment import prepare
from harness.model import MeasurementError
from harness.registry import load_registry
from harness.tests.commands import gatebench

REGISTRY = load_registry()
BJOERN = REGISTRY.servers["bjoern"]
ABSENT = {"libnone-dev": "no/such.h", "nonesuch": "no-such-program"}


def test_programs_and_headers_are_seen():
    present = {"coreutils": "ls", "libpython": "Python.h", "base": "sh"}
    assert debian.missing(replace(BJOERN, debian={"coreutils": "ls", "base": "sh"})) == []
    lacking = debian.missing(replace(BJOERN, debian=present | ABSENT))
    assert lacking[-2:] == list(ABSENT)


def test_daemons_are_seen_though_a_users_path_lacks_their_folder(monkeypatch, tmp_path):
    (tmp_path / "apached").write_text("")
    (tmp_path / "apached").chmod(0o755)
    server = replace(BJOERN, debian={"apache": "apached"})
    assert debian.missing(server) == ["apache"]
    monkeypatch.setattr(debian, "PROGRAMS", f"/usr/bin:{tmp_path}")
    assert debian.missing(server) == []


def test_missing_package_ends_before_anything_is_installed():
    def never(*_: object) -> None:
        raise AssertionError("uv was run")

    app = REGISTRY.app_for(BJOERN, None)
    with pytest.raises(MeasurementError) as caught:
        prepare(replace(BJOERN, debian=ABSENT), app, run=never)
    assert str(caught.value) == (
        f"bjoern ({BJOERN.origin}) needs libnone-dev and nonesuch of the system: "
        "apt-get install libnone-dev nonesuch"
    )


def test_doctor_names_each_server_and_one_command_for_all(monkeypatch, tmp_path):
    def without(name: str) -> bool:
        return name not in ("ev.h", "apxs", "gcc")

    monkeypatch.setattr(debian, "_seen", without)
    (check,) = (it for it in doctor.examine(tmp_path) if "need of the system" in it.name)
    assert check.state == "optional"
    assert "bjoern lacks libev-dev, gcc" in check.found
    assert "mod-wsgi lacks apache2-dev, gcc" in check.found
    assert sorted(check.mend.removeprefix("apt-get install ").split()) == [
        "apache2-dev", "gcc", "libev-dev",
    ]  # fmt: skip
    monkeypatch.setattr(debian, "_seen", lambda _: True)
    (check,) = (it for it in doctor.examine(tmp_path) if "need of the system" in it.name)
    assert (check.state, check.found, check.mend) == ("ok", "all is there", "")


def test_cell_whose_server_lacks_a_package_is_failed_with_the_command(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[servers.mine]\nspeaks = "wsgi"\npackages = ["bjoern"]\nconcurrency = "process"\n'
        'command = "mine {app} {port}"\ndebian = { libnone-dev = "no/such.h" }\n'
    )
    finished = gatebench(
        "run", "mine", "--servers", "mine.toml", "--scenario", "hello", "--json", cwd=tmp_path
    )
    assert finished.code == 3
    (cell,) = finished.document["cells"]
    assert cell["verdict"] == "failed"
    assert "apt-get install libnone-dev" in cell["reasons"][0]
