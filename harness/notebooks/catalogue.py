"""Which notebooks there are, and the parameters that each takes.

A notebook is a file of notebooks/ in jupytext's percent format: Python, with a header that says
so. Its parameters are the annotated assignments of its cell with the tag `parameters`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.model import ConfigurationError
from harness.table import nearest

HERE = Path(__file__).parent
HEADER = "# ---\n# jupyter:\n"
PARAMETERS = re.compile(r'^# %% tags=\["parameters"\]\n(.*?)^# %%', re.MULTILINE | re.DOTALL)
GIVEN = ("run", "results")  # by the command's own words


@dataclass(frozen=True)
class Notebook:
    """A notebook: its file, its title, and the kind of each parameter: str, int, float or bool."""

    name: str
    file: Path
    title: str
    parameters: Mapping[str, str]


def catalogue() -> dict[str, Notebook]:
    """All notebooks by name, in the order of their names."""
    files = sorted(_folder().glob("*.py"))
    texts = {file: file.read_text("utf-8") for file in files}
    return {
        file.stem: Notebook(file.stem, file, _title(text), _parameters(text))
        for file, text in texts.items()
        if text.startswith(HEADER)
    }


def values(words: Iterable[str], chosen: Iterable[Notebook]) -> dict[str, Any]:
    """What `NAME=VALUE` say, each of the kind that its parameter is.

    ConfigurationError, with the names there are, for one that none of `chosen` has, or a value of
    another kind.
    """
    kinds = {name: kind for it in chosen for name, kind in it.parameters.items()}
    free = {name: kind for name, kind in kinds.items() if name not in GIVEN}
    said = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigurationError(f"-p {word}: write NAME=VALUE")
        if name in GIVEN:
            how = "gatebench notebooks RUN" if name == "run" else "--results DIR"
            raise ConfigurationError(f"-p {word}: {name} is said by `{how}`")
        if name not in free:
            there = ", ".join(f"{it} ({kind})" for it, kind in sorted(free.items()))
            raise ConfigurationError(
                f"-p {word}: no parameter {name!r}{nearest(name, free)}; there are {there}"
            )
        try:
            said[name] = KINDS[free[name]](text)
        except ValueError:
            raise ConfigurationError(
                f"-p {word}: {text!r} is not of the kind {free[name]}"
                + (", which is true or false" if free[name] == "bool" else "")
            ) from None
    return said


def _folder() -> Path:
    """Where the notebooks lie: beside the package in a checkout, inside it in a wheel."""
    checkout = HERE.parents[1] / "notebooks"
    return checkout if checkout.is_dir() else HERE.parent / "data" / "notebooks"


def _title(text: str) -> str:
    found = re.search(r"^# # (.+)$", text, re.MULTILINE)
    return found[1] if found else ""


def _parameters(text: str) -> dict[str, str]:
    found = PARAMETERS.search(text)
    lines = ast.parse(found[1]).body if found else []
    return {
        ast.unparse(line.target): ast.unparse(line.annotation)
        for line in lines
        if isinstance(line, ast.AnnAssign)
    }


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


KINDS: Mapping[str, Callable[[str], Any]] = {
    "str": str, "int": int, "float": float, "bool": _truth,
}  # fmt: skip
