"""A TOML table into rows: each a dataclass, its keys and their types being the dataclass's own."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

from harness.model import App, ConfigurationError, Front, Scenario, Server

NAME = re.compile(r"[^\s@+,#*?\[\]\x00-\x1f\x7f]+")
# what a row's own file and table already say
FILLED_IN = {"name", "origin", "folder", "version", "python"}
# what only the command line says, of a user's own application
FILLED_IN |= {"requirements", "variables", "own", "request", "front", "injection", "entry", "side"}

R = TypeVar("R", Server, Front, App, Scenario)


def parse_table(path: Path) -> dict[str, Any]:
    """A TOML file's document; ConfigurationError in one line if it is none."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        what = str(error)
        twice = re.match(r"Cannot declare \((.*)\) twice \(at line (\d+)", what)
        if twice:
            row = ".".join(part.strip(" '") for part in twice[1].split(",") if part.strip())
            what = f"row [{row}] stands twice (line {twice[2]}); rename or delete one"
        raise ConfigurationError(f"{path}: {what}") from None


def collect(
    path: Path,
    document: Mapping[str, Any],
    section: str,
    kind: type[R],
    into: dict[str, R],
    check: typing.Callable[[R], None],
) -> None:
    """Read and check a section's rows `into` those that there are already, each name once."""
    rows = document.get(section, {})
    if not isinstance(rows, dict):
        raise wrong(path, section, f"must be a table of rows, [{section}.NAME]")
    for name, values in rows.items():
        where = f"[{section}.{name}]"
        if not isinstance(values, dict):
            raise wrong(path, section, f"has a value {name!r} where a row [{section}.NAME] belongs")
        if not NAME.fullmatch(name):
            raise wrong(path, where, "a name has no spaces, commas, @, +, # or wildcards")
        if name in into:
            raise wrong(path, where, f"stands already in {into[name].origin}; choose another name")
        into[name] = _read_row(path, where, name, values, kind)
        check(into[name])


def _read_row(path: Path, where: str, name: str, values: Mapping[str, Any], kind: type[R]) -> R:
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in fields(kind) if f.name not in FILLED_IN}
    for key in values:
        if key not in known:
            raise wrong(path, where, f"unknown key {key!r}", near=(key, known))
    for key, spec in known.items():
        if key not in values and _required(spec):
            raise wrong(path, where, f"the key {key!r} is missing")
    row = {key: _typed(path, where, key, value, _said(hints[key])) for key, value in values.items()}
    if "folder" in hints:
        row["folder"] = path.parent.resolve()
    return kind(name=name, origin=f"{path} {where}", **row)


def _said(hint: Any) -> Any:
    """The type of what a row says: a key that may be left out may not be said to be nothing."""
    kinds = typing.get_args(hint)
    return kinds[0] if types.NoneType in kinds else hint


def _required(spec: Field[Any]) -> bool:
    return spec.default is MISSING and spec.default_factory is MISSING


def _typed(path: Path, where: str, key: str, value: Any, hint: Any) -> Any:
    """The TOML value as the dataclass field wants it, or one clear line."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        if value in (choices := typing.get_args(hint)):
            return value
        wanted = "one of " + ", ".join(f'"{choice}"' for choice in choices)
    elif origin is tuple:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        wanted = "a list of strings"
    elif origin is not None and issubclass(origin, Mapping):
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return types.MappingProxyType(value)
        wanted = "a table of strings"
    elif hint is Path:
        if isinstance(value, str):
            return path.parent.resolve() / value
        wanted = "a file name"
    elif hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and 0 <= value < math.inf:
            return float(value)
        wanted = "a number of seconds, 0 or more"
    elif isinstance(value, hint) and value != "":
        return value
    else:
        wanted = {bool: "true or false", str: "a text"}[hint]
    raise wrong(path, where, f"{key} = {value!r} must be {wanted}")


def nearest(name: str, known: Iterable[str], form: str = "%s") -> str:
    """What may have been meant, to end a message with; empty if nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(form % item for item in near)}?" if near else ""


def wrong(
    path: Path, where: str, what: str, *, near: tuple[str, Iterable[str]] | None = None
) -> ConfigurationError:
    """A mistake in a table, to be raised."""
    return ConfigurationError(f"{path} {where}: {what}" + (nearest(*near) if near else ""))
