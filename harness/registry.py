"""Tables into rows: servers, apps and scenarios, every mistake named with file and row.

A table is a TOML file with any of `[servers.NAME]`, `[apps.NAME]` and `[scenarios.NAME]`.
Three come with gatebench; a user adds more with `--servers FILE`.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
import re
import shlex
import signal
import string
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from harness.model import App, ConfigurationError, Scenario, Server
from harness.verify import CHECKS

HERE = Path(__file__).parent
NEEDS = ("websocket",)
PLACEHOLDERS = ("app", "host", "port", "workers", "threads")
NEEDED_PLACEHOLDERS = ("app", "port")
NAME = re.compile(r"[^\s@,*?\[\]\x00-\x1f\x7f]+")
# what a row's own file and table already say
FILLED_IN = {"name", "origin", "folder", "version", "python"}

Row = Server | App | Scenario
R = TypeVar("R", Server, App, Scenario)


def data_folder(name: str) -> Path:
    """Where `apps` or `scenarios` lies: beside the package in a checkout, inside it in a wheel."""
    checkout = HERE.parent / name
    return checkout if (checkout / f"{name}.toml").exists() else HERE / "data" / name


@dataclass(frozen=True)
class Registry:
    """All rows by name, in the order of their tables."""

    servers: Mapping[str, Server]
    apps: Mapping[str, App]
    scenarios: Mapping[str, Scenario]

    def select_servers(self, patterns: Iterable[str]) -> list[Server]:
        """The servers named by `name`, `name@version` or a glob, each once, in that order."""
        chosen: dict[str, Server] = {}
        for pattern in patterns:
            name, at, version = pattern.partition("@")
            if at and not _is_version(version):
                raise ConfigurationError(
                    f"{pattern}: {version!r} is not a version; write NAME@1.2 or NAME@1.2.3"
                )
            for server in _matching(name, self.servers, "server"):
                row = replace(server, version=version) if at else server
                chosen.setdefault(row.label, row)
        return list(chosen.values())

    def select_scenarios(self, patterns: Iterable[str]) -> list[Scenario]:
        """The scenarios named, or matched by a glob, each once, in that order."""
        chosen: dict[str, Scenario] = {}
        for pattern in patterns:
            for scenario in _matching(pattern, self.scenarios, "scenario"):
                chosen.setdefault(scenario.name, scenario)
        return list(chosen.values())

    def app_for(self, server: Server, name: str | None) -> App:
        """The named app, or the raw app of the server's interface."""
        app = _matching(name or server.speaks, self.apps, "app")[0]
        if app.speaks != server.speaks:
            raise ConfigurationError(
                f"app {app.name} speaks {app.speaks.upper()} but server {server.name} speaks "
                f"{server.speaks.upper()}; choose another of the two"
            )
        return app


def unmet_need(server: Server, app: App, scenario: Scenario) -> str | None:
    """Why `server` with `app` cannot do `scenario`, in one line; None if it can."""
    for need in scenario.needs:
        if not getattr(server, need):
            return (
                f"scenario {scenario.name} needs {need}, which server {server.name} "
                f"({server.speaks.upper()}) does not offer"
            )
        if not getattr(app, need):
            return f"scenario {scenario.name} needs {need}, which app {app.name} does not offer"
    for check in scenario.checks:
        if check in server.cannot:
            return (
                f"scenario {scenario.name} needs the answer {check}, which server "
                f"{server.name} cannot give: {server.cannot[check]}"
            )
    return None


def load_registry(extra: Iterable[Path] = ()) -> Registry:
    """Read gatebench's own tables and the user's; raise ConfigurationError at the first mistake."""
    tables = [
        HERE / "servers.toml",
        data_folder("apps") / "apps.toml",
        data_folder("scenarios") / "scenarios.toml",
        *extra,
    ]
    servers: dict[str, Server] = {}
    apps: dict[str, App] = {}
    scenarios: dict[str, Scenario] = {}
    for path in tables:
        document = _parse(path)
        for section in document:
            if section not in ("servers", "apps", "scenarios"):
                raise _wrong(
                    path,
                    f"[{section}]",
                    "is not a table gatebench knows",
                    near=(section, ("servers", "apps", "scenarios")),
                )
        _collect(path, document, "servers", Server, servers, _check_server)
        _collect(path, document, "apps", App, apps, _check_app)
        _collect(path, document, "scenarios", Scenario, scenarios, _check_scenario)
    return Registry(servers, apps, scenarios)


def _parse(path: Path) -> dict[str, Any]:
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


def _collect(
    path: Path,
    document: Mapping[str, Any],
    section: str,
    kind: type[R],
    into: dict[str, R],
    check: typing.Callable[[R], None],
) -> None:
    rows = document.get(section, {})
    if not isinstance(rows, dict):
        raise _wrong(path, section, f"must be a table of rows, [{section}.NAME]")
    for name, values in rows.items():
        where = f"[{section}.{name}]"
        if not isinstance(values, dict):
            raise _wrong(
                path, section, f"has a value {name!r} where a row [{section}.NAME] belongs"
            )
        if not NAME.fullmatch(name):
            raise _wrong(path, where, "a name has no spaces, commas, @ or wildcards")
        if name in into:
            raise _wrong(path, where, f"stands already in {into[name].origin}; choose another name")
        into[name] = _read_row(path, where, name, values, kind)
        check(into[name])


def _read_row(path: Path, where: str, name: str, values: Mapping[str, Any], kind: type[R]) -> R:
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in fields(kind) if f.name not in FILLED_IN}
    for key in values:
        if key not in known:
            raise _wrong(path, where, f"unknown key {key!r}", near=(key, known))
    for key, spec in known.items():
        if key not in values and _required(spec):
            raise _wrong(path, where, f"the key {key!r} is missing")
    row = {key: _typed(path, where, key, value, hints[key]) for key, value in values.items()}
    if "folder" in hints:
        row["folder"] = path.parent.resolve()
    return kind(name=name, origin=f"{path} {where}", **row)


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
    raise _wrong(path, where, f"{key} = {value!r} must be {wanted}")


def _check_server(server: Server) -> None:
    try:
        shlex.split(server.command)
        parts = [part for part in string.Formatter().parse(server.command) if part[1] is not None]
    except ValueError as error:
        raise ConfigurationError(f"{server.origin}: command: {error}") from None
    used = [name or "" for _, name, _, _ in parts]
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ConfigurationError(
            f"{server.origin}: command: placeholders are written plainly, like {{port}}"
        )
    for name in used:
        if name not in PLACEHOLDERS:
            raise ConfigurationError(
                f"{server.origin}: command: unknown placeholder {{{name}}}"
                + _nearest(name, PLACEHOLDERS, "{%s}")
            )
    for name in NEEDED_PLACEHOLDERS:
        if name not in used:
            raise ConfigurationError(
                f"{server.origin}: command: the placeholder {{{name}}} is missing"
            )
    if not server.packages:
        raise ConfigurationError(
            f"{server.origin}: packages: name at least the server's own package"
        )
    _check_requirements(server.packages, server.origin)
    if f"SIG{server.stop}" not in signal.Signals.__members__:
        raise ConfigurationError(
            f'{server.origin}: stop = {server.stop!r} is not a signal; write it like "TERM"'
        )
    _check_names(server.cannot, server.origin, "cannot")


def _check_app(app: App) -> None:
    module, colon, name = app.target.partition(":")
    if not (colon and module and name):
        raise ConfigurationError(f'{app.origin}: target = {app.target!r} must be "module:object"')
    _check_requirements(app.packages, app.origin)


def _check_scenario(scenario: Scenario) -> None:
    if not scenario.file.is_file():
        raise ConfigurationError(f"{scenario.origin}: file: {scenario.file} does not exist")
    for need in scenario.needs:
        if need not in NEEDS:
            raise ConfigurationError(
                f"{scenario.origin}: needs: unknown need {need!r}" + _nearest(need, NEEDS)
            )
    _check_names(scenario.checks, scenario.origin, "checks")


def _check_names(names: Iterable[str], origin: str, key: str) -> None:
    for name in names:
        if name not in CHECKS:
            raise ConfigurationError(
                f"{origin}: {key}: unknown check {name!r}" + _nearest(name, CHECKS)
            )


def _check_requirements(packages: Iterable[str], origin: str) -> None:
    for package in packages:
        try:
            Requirement(package)
        except InvalidRequirement as error:
            what = str(error).splitlines()[0]
            raise ConfigurationError(f"{origin}: packages: {package!r}: {what}") from None


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _matching(pattern: str, rows: Mapping[str, R], kind: str) -> list[R]:
    if pattern in rows:
        return [rows[pattern]]
    matched = [row for name, row in rows.items() if fnmatch.fnmatchcase(name, pattern)]
    if not matched:
        raise ConfigurationError(
            f"unknown {kind} {pattern!r}"
            + _nearest(pattern, rows)
            + f"; `gatebench list {kind}s` shows all"
        )
    return matched


def _nearest(name: str, known: Iterable[str], form: str = "%s") -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(form % item for item in near)}?" if near else ""


def _wrong(
    path: Path, where: str, what: str, *, near: tuple[str, Iterable[str]] | None = None
) -> ConfigurationError:
    return ConfigurationError(f"{path} {where}: {what}" + (_nearest(*near) if near else ""))
