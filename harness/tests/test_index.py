"""Ranges of versions: what the index has, asked through uv, or the mistake in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from harness.index import feature_versions
from harness.installer import Completed
from harness.model import ConfigurationError, MeasurementError
from harness.registry import load_registry
from harness.tests.commands import gatebench

UVICORN = load_registry().servers["uvicorn"]
RELEASES = [
    *("0.9.0", "0.29.0", "0.30.0", "0.30.6", "0.31.0", "0.31.1"),
    *("0.32.0rc1", "0.32.0", "0.32.1", "1.0.0", "1.0.1", "1.2.0"),
]


class FakeIndex:
    """A uv that knows RELEASES, or fails with the `says` it is given."""

    def __init__(self, says: str = "") -> None:
        self.says = says
        self.calls: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str], _: Mapping[str, str]) -> Completed:
        self.calls.append(argv)
        if self.says:
            return Completed(2, self.says)
        wanted = Path(argv[-1]).read_text("utf-8").strip()
        fits = list(SpecifierSet(wanted.removeprefix("uvicorn")).filter(RELEASES))
        if not fits:
            cause = f"Because only uvicorn<=1.2.0 is available and you require {wanted}, we can ..."
            return Completed(1, f"error: No solution found\n  cause: {cause}")
        return Completed(0, f"warning: something\nuvicorn=={fits[-1]}\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.30..0.32", ["0.30", "0.31", "0.32"]),
        ("0.30..0.30", ["0.30"]),
        ("0.30.2..0.30", ["0.30"]),
        ("0.9..0.30", ["0.9", "0.29", "0.30"]),
        ("0.30..1", ["0.30", "0.31", "0.32", "1.0", "1.2"]),
        ("1..9", ["1.0", "1.2"]),
        ("0.31..0.32.0", ["0.31", "0.32.0"]),  # 0.32 would be 0.32.1
        ("0.31..0.31.1", ["0.31.1"]),
    ],
)
def test_range_has_every_feature_version_in_it(text, found):
    assert feature_versions(UVICORN, text, run=FakeIndex()) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.32..0.30", "uvicorn@0.32..0.30 runs backwards; write uvicorn@0.30..0.32"),
        ("0.30.2..0.30.1", "runs backwards"),
        ("0.30..", "is not a range of versions; write uvicorn@1.2..1.5"),
        ("..0.30", "is not a range"),
        ("0.30...0.32", "is not a range"),
        ("0.30..0.31..0.32", "is not a range"),
        ("0.30..new", "is not a range"),
        ("1.0rc1..1.1", "is not a range"),
        ("2..3", "uvicorn@2..3 has no release of uvicorn: Because only uvicorn<=1.2.0 is avail"),
        ("0.29.1..0.29.9", "has no release"),
    ],
)
def test_mistake_in_a_range_is_one_line(text, words):
    with pytest.raises(ConfigurationError) as caught:
        feature_versions(UVICORN, text, run=FakeIndex())
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("says", "kind", "words"),
    [
        ("cause: error sending request for url (x)", MeasurementError, "cannot reach the package"),
        (
            "cause: Because uvicorn was not found in the package registry and you require uvicorn,",
            ConfigurationError,
            "the package index has no package uvicorn",
        ),
        ("error: No interpreter found", MeasurementError, "No interpreter found"),
    ],
)
def test_index_that_cannot_answer_is_not_an_empty_range(says, kind, words):
    with pytest.raises(kind, match=words):
        feature_versions(UVICORN, "0.30..0.32", run=FakeIndex(says))


@pytest.mark.parametrize(
    ("python", "option"), [("3.13", "--python-version"), ("/opt/python", "--python")]
)
def test_index_is_asked_for_the_servers_python(python, option):
    index = FakeIndex()
    feature_versions(UVICORN, "1..2", python, run=index)
    assert all(call[call.index(option) + 1] == python for call in index.calls)


@pytest.mark.servers
def test_real_index_lists_what_is_released():
    assert feature_versions(UVICORN, "0.30.0..0.32.0") == ["0.30", "0.31", "0.32.0"]
    with pytest.raises(ConfigurationError, match="has no release of uvicorn: Because only uvicorn"):
        feature_versions(UVICORN, "900..901")


@pytest.mark.servers
def test_versions_of_a_list_are_rows_that_show_what_was_installed(tmp_path):
    finished = gatebench(
        "run", "uvicorn@0.30,0.40,0.54", "--scenario", "hello", "--json",
        "--duration", "1s", "--warmup", "0.5s", cwd=tmp_path,
    )  # fmt: skip
    cells = finished.document["cells"]
    assert not [cell["reasons"] for cell in cells if cell["verdict"] == "failed"]
    versions = {cell["server"]: cell["versions"] for cell in cells}
    assert sorted(versions) == ["uvicorn@0.30", "uvicorn@0.40", "uvicorn@0.54"]
    for label, installed in versions.items():
        assert installed["uvicorn"].startswith(f"{label.removeprefix('uvicorn@')}.")
