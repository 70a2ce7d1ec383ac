"""Packages from a checkout, an archive or git: what is installed is what lies there now."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness.commands.environments import Environments
from harness.environment import prepare
from harness.model import ConfigurationError, MeasurementError, RefusedError
from harness.source import package_of, state_of, with_package
from harness.tests import builders
from harness.tests.builders import APP

PROJECT = """
[project]
name = "Tiny.Pkg"
version = "1.0"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# a build without the network: a wheel of one module, whose version is in the file VERSION
BACKEND = """
import pathlib, zipfile

def build_wheel(folder, settings=None, metadata=None):
    version = pathlib.Path("VERSION").read_text().strip()
    name = f"tiny_pkg-{version}-py3-none-any.whl"
    info = f"tiny_pkg-{version}.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.write("tiny_pkg.py")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: tiny-pkg\\nVersion: {version}\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""  # noqa: E501
SERVER = builders.server("tiny", packages=("tiny-pkg",))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache for this test alone, and nobody's git settings."""
    monkeypatch.setenv("GATEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "VERSION").write_text("1.0")
    (folder / "tiny_pkg.py").write_text("what = 'first'\n")
    return folder


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, text: str = "all of it") -> str:
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", text)
    return git(folder, "rev-parse", "HEAD")


def copy_of(package) -> Path:
    return Path(package.requirement.partition("file://")[2])


def what_runs(package) -> str:
    """What the module says that is installed in the environment of this package."""
    made = prepare(with_package(SERVER, package), replace(APP, packages=()))
    return subprocess.run(
        [str(made.bin / "python"), "-I", "-c", "import tiny_pkg; print(tiny_pkg.what)"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


def test_checkout_is_installed_as_it_lies_there_however_often_it_changes(project):
    for what in ("first", "second", "first"):
        (project / "tiny_pkg.py").write_text(f"what = {what!r}\n")
        assert what_runs(package_of(str(project))) == what


def test_same_content_is_the_same_package_and_any_change_another(project):
    first = package_of(str(project))
    assert package_of(str(project)) == first
    assert first.requirement.startswith("Tiny.Pkg @ file:///")
    (project / "VERSION").chmod(0o755)
    executable = package_of(str(project))
    (project / "VERSION").rename(project / "VERSION2")
    renamed = package_of(str(project))
    assert len({first.requirement, executable.requirement, renamed.requirement}) == 3


def test_receipt_shows_the_digest_and_the_commit(project):
    assert "sha256 " in package_of(str(project)).note
    head = commit(project)
    assert state_of(project) == head[:7]
    assert f", {head[:7]}, sha256 " in package_of(str(project)).note
    (project / "VERSION").write_text("1.1")
    assert f"{head[:7]}-dirty, sha256 " in package_of(str(project)).note


def test_copy_has_what_git_would_keep_and_what_is_new(project):
    (project / ".gitignore").write_text("build/\n*.so\n")
    (project / "gone.py").touch()
    commit(project)
    (project / "gone.py").unlink()
    (project / "new.py").touch()
    (project / "build").mkdir()
    (project / "build" / "large").touch()
    (project / "old.so").touch()
    names = {it.name for it in copy_of(package_of(str(project))).iterdir()}
    assert {"new.py", "tiny_pkg.py", ".git"} <= names
    assert not names & {"gone.py", "build", "old.so"}


def test_whatever_git_tracks_is_part_of_the_digest(project):
    (project / "venv").mkdir()
    (project / "venv" / "module.py").write_text("first")
    commit(project)
    wanted = []
    for text in ("second", "third"):
        (project / "venv" / "module.py").write_text(text)  # both are called dirty
        package = package_of(str(project))
        assert (copy_of(package) / "venv" / "module.py").read_text() == text
        wanted.append(package.requirement)
    assert wanted[0] != wanted[1]


def test_folder_that_is_no_checkout_is_copied_without_caches(project):
    for name in ("__pycache__", ".venv", "node_modules"):
        (project / name).mkdir()
        (project / name / "large").touch()
    (project / "link").symlink_to("tiny_pkg.py")
    names = {it.name for it in copy_of(package_of(str(project))).iterdir()}
    assert names == {
        "pyproject.toml", "backend.py", "VERSION", "tiny_pkg.py", "link",
    }  # fmt: skip


def test_branch_is_the_commit_that_it_is_at_now(project):
    first = commit(project)
    git(project, "tag", "-a", "v1", "-m", "one")
    (project / "tiny_pkg.py").write_text("what = 'second'\n")
    second = commit(project)
    address = f"tiny-pkg@git+file://{project}"
    branch, tag = "@refs/heads/main", "@refs/tags/v1"
    refs = (("", second), ("@main", second), (branch, second), ("@v1", first), (tag, first))
    for said, head in (*refs, (f"@{first}", first)):
        package = package_of(address + said)
        assert package.requirement == f"tiny-pkg @ git+file://{project}@{head}"
        assert package.note.endswith(f"commit {head}")
    assert what_runs(package_of(f"{address}@v1")) == "first"
    assert what_runs(package_of(f"{address}@main")) == "second"


def test_archives_say_their_own_names(tmp_path):
    wheel, sdist = tmp_path / "tiny_pkg-1.0-py3-none-any.whl", tmp_path / "tiny_pkg-1.0.tar.gz"
    with zipfile.ZipFile(wheel, "w"):
        pass
    with tarfile.open(sdist, "w:gz"):
        pass
    for path in (wheel, sdist):
        package = package_of(str(path))
        assert package.requirement.startswith("tiny-pkg @ file:///")
        assert copy_of(package).name == path.name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("/no/such/folder", "does not exist"),
        ("git+https://example.invalid/x", "say which package it is"),
        ("x@git+https://me:secret@example.invalid/x", "would be stored"),
        ("x@git+https://token@example.invalid/x", "would be stored"),
        ("x@https://example.invalid/x.whl", "may change unseen"),
        ("h11==", "is no package"),
    ],
)
def test_mistake_is_one_clear_line(text, what):
    with pytest.raises(ConfigurationError, match=what) as caught:
        package_of(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_folder_has_to_say_its_name(tmp_path):
    with pytest.raises(ConfigurationError, match="does not say its name; write NAME@"):
        package_of(str(tmp_path))
    (tmp_path / "setup.py").write_text("import setuptools\nsetuptools.setup(name='old')\n")
    assert package_of(str(tmp_path)).requirement.startswith("old @ ")
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = other\n")
    assert package_of(str(tmp_path)).requirement.startswith("other @ ")
    (tmp_path / "pyproject.toml").write_text("[tool.poetry]\nname = 'poet'\n")
    assert package_of(str(tmp_path)).requirement.startswith("poet @ ")
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(ConfigurationError, match="its name cannot be read"):
        package_of(str(tmp_path))


def test_repository_and_branch_have_to_be_there(project, tmp_path):
    commit(project)
    with pytest.raises(ConfigurationError, match="has no branch or tag 'nope'"):
        package_of(f"tiny-pkg@git+file://{project}@nope")
    with pytest.raises(MeasurementError, match="git cannot read"):
        package_of(f"tiny-pkg@git+file://{tmp_path}/nowhere")


def test_package_takes_the_place_of_its_own_name_with_its_extras():
    server = builders.server("demo", packages=("Demo_Server[fast]>=1", "h11"))
    package = package_of("demo-server==2")
    assert with_package(server, package).packages == ("demo-server[fast]==2", "h11")
    assert with_package(server, package_of("wsproto")).packages[-1] == "wsproto"
    with pytest.raises(ConfigurationError, match="says the version, too"):
        with_package(replace(server, version="1.0"), package)


def test_resumed_run_takes_it_from_where_it_was_and_not_from_the_index(project):
    """The same name and version may be on the index, and be another thing."""
    it = replace(
        builders.cell(), server=with_package(SERVER, package_of(str(project))),
        app=replace(APP, packages=()),
    )  # fmt: skip
    described = {"server": it.server.label, "app": it.app.name}
    facts = {"outcome": "measured", "cell": described, "versions": {"tiny-pkg": "9"}, "python": "3"}
    with pytest.raises(RefusedError, match=r"tiny-pkg was 9 and is 1\.0|Python was 3 and is"):
        Environments(False, [facts]).of(it)
