"""Tables into rows: servers, fronts, apps and scenarios, every mistake named with file and row.

A table is a TOML file with any of `[servers.NAME]`, `[fronts.NAME]`, `[apps.NAME]` and
`[scenarios.NAME]`. Four come with gatebench; a user adds more with `--servers FILE`.
"""

from __future__ import annotations

import ast
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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from harness.front import check_template, unfit
from harness.model import App, ConfigurationError, Front, Scenario, Server
from harness.probe.table import PROBES
from harness.verify import CHECKS

HERE = Path(__file__).parent
NEEDS = ("websocket",)
PLACEHOLDERS = ("app", "host", "port", "workers", "threads", "launchers")
NEEDED_PLACEHOLDERS = ("app", "port")
SECTIONS = ("servers", "fronts", "apps", "scenarios")
NAME = re.compile(r"[^\s@+,*?\[\]\x00-\x1f\x7f]+")
# what a row's own file and table already say
FILLED_IN = {"name", "origin", "folder", "version", "python"}
# what only the command line says, of a user's own application
FILLED_IN |= {"requirements", "variables", "own", "request", "front"}

Row = Server | Front | App | Scenario
R = TypeVar("R", Server, Front, App, Scenario)


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
    fronts: Mapping[str, Front] = field(default_factory=dict)

    def shown(self) -> dict[str, Server]:
        """The servers, then each front with the servers it is shown before, by label."""
        rows = [
            replace(self.servers[name], front=front)
            for front in self.fronts.values()
            for name in front.before
            if name in self.servers
        ]
        return {**self.servers, **{row.label: row for row in rows}}

    def select_servers(self, patterns: Iterable[str]) -> list[Server]:
        """The servers named by `name`, `name@version`, `front+name` or a glob, each once."""
        chosen: dict[str, Server] = {}
        for pattern in patterns:
            name, at, version = pattern.partition("@")
            if at and not _is_version(version):
                raise ConfigurationError(
                    f"{pattern}: {version!r} is not a version; write NAME@1.2 or NAME@1.2.3"
                )
            for server in self._named(name):
                row = replace(server, version=version) if at else server
                chosen.setdefault(row.label, row)
        return list(chosen.values())

    def _named(self, pattern: str) -> list[Server]:
        """The servers, or the servers behind fronts; a glob means those that can stand so."""
        fronts, plus, servers = pattern.rpartition("+")
        if not plus:
            return _matching(pattern, self.shown(), "server")
        fitting, refused = [], []
        for front in _matching(fronts, self.fronts, "front"):
            for server in _matching(servers, self.servers, "server"):
                if why := unfit(front, server):
                    refused.append(why)
                else:
                    fitting.append(replace(server, front=front))
        if not fitting:
            raise ConfigurationError(refused[0])
        return fitting

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
    for kind, row in (("front", server.front), ("server", server), ("app", app)):
        for check in scenario.checks:
            if row is not None and check in row.cannot:
                return (
                    f"scenario {scenario.name} needs the answer {check}, which {kind} "
                    f"{row.name} cannot give: {row.cannot[check]}"
                )
    return None


def load_registry(extra: Iterable[Path] = ()) -> Registry:
    """Read gatebench's own tables and the user's; raise ConfigurationError at the first mistake."""
    tables = [
        HERE / "servers.toml",
        HERE / "fronts.toml",
        data_folder("apps") / "apps.toml",
        data_folder("scenarios") / "scenarios.toml",
        *extra,
    ]
    servers: dict[str, Server] = {}
    fronts: dict[str, Front] = {}
    apps: dict[str, App] = {}
    scenarios: dict[str, Scenario] = {}
    for path in tables:
        document = _parse(path)
        for section in document:
            if section not in SECTIONS:
                raise _wrong(
                    path, f"[{section}]", "is not a table gatebench knows", near=(section, SECTIONS)
                )
        _collect(path, document, "servers", Server, servers, _check_server)
        _collect(path, document, "fronts", Front, fronts, _check_front)
        _collect(path, document, "apps", App, apps, _check_app)
        _collect(path, document, "scenarios", Scenario, scenarios, _check_scenario)
    for front in fronts.values():
        _check_before(front, servers)
    return Registry(servers, apps, scenarios, fronts)


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
            raise _wrong(path, where, "a name has no spaces, commas, @, + or wildcards")
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


def _check_command(text: str, where: str, known: Iterable[str], needed: Iterable[str]) -> None:
    """Hold that a command, or a part of one, has the placeholders that it should."""
    try:
        words = shlex.split(text)
        parts = [part for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if not words:
        raise ConfigurationError(f"{where}: has no words")
    used = [name or "" for _, name, _, _ in parts]
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ConfigurationError(f"{where}: placeholders are written plainly, like {{port}}")
    for name in used:
        if name not in known:
            raise ConfigurationError(
                f"{where}: unknown placeholder {{{name}}}" + _nearest(name, known, "{%s}")
            )
    for name in needed:
        if name not in used:
            raise ConfigurationError(f"{where}: the placeholder {{{name}}} is missing")


def _check_stop(row: Server | Front) -> None:
    if f"SIG{row.stop}" not in signal.Signals.__members__:
        raise ConfigurationError(
            f'{row.origin}: stop = {row.stop!r} is not a signal; write it like "TERM"'
        )


def _check_sockets(server: Server) -> None:
    for key in ("unix", "uwsgi"):
        if not (text := getattr(server, key)):
            continue
        where = f"{server.origin}: {key}"
        _check_command(text, where, (*PLACEHOLDERS, "socket"), ["socket"])
        if server.command_with(text) == server.command:
            raise ConfigurationError(
                f"{where} = {text!r} is an address and stands for {{host}}:{{port}}, which the "
                "command does not have; write options, -x {socket}, or the whole command"
            )


def _check_tls(server: Server) -> None:
    for key, needed in (("tls", ("cert", "key")), ("http3", ("cert", "key", "quic"))):
        if text := getattr(server, key):
            _check_command(text, f"{server.origin}: {key}", (*PLACEHOLDERS, *needed), needed)


def _check_front(front: Front) -> None:
    _check_command(front.command, f"{front.origin}: command", ("config", "folder"), ["config"])
    _check_command(front.receipt, f"{front.origin}: receipt", (), ())
    check_template(front)
    _check_stop(front)
    _check_names(front.cannot, front.origin, "cannot")


def _check_before(front: Front, servers: Mapping[str, Server]) -> None:
    for name in front.before:
        if name not in servers:
            raise ConfigurationError(
                f"{front.origin}: before: unknown server {name!r}" + _nearest(name, servers)
            )
        if why := unfit(front, servers[name]):
            raise ConfigurationError(f"{front.origin}: before: {why}")


def _check_server(server: Server) -> None:
    _check_command(server.command, f"{server.origin}: command", PLACEHOLDERS, NEEDED_PLACEHOLDERS)
    _check_sockets(server)
    _check_tls(server)
    if not server.packages:
        raise ConfigurationError(
            f"{server.origin}: packages: name at least the server's own package"
        )
    _check_requirements(server.packages, server.origin)
    _check_stop(server)
    _check_names(server.cannot, server.origin, "cannot")
    for probe, word in server.expects.items():
        if probe not in PROBES:
            raise ConfigurationError(
                f"{server.origin}: expects: unknown probe {probe!r}" + _nearest(probe, PROBES)
            )
        if word not in ("yes", "no", "partial"):
            raise ConfigurationError(
                f'{server.origin}: expects: {probe} = {word!r} must be "yes", "no" or "partial"'
            )


def _check_app(app: App) -> None:
    module, colon, name = app.target.partition(":")
    if not (colon and module and name):
        raise ConfigurationError(f'{app.origin}: target = {app.target!r} must be "module:object"')
    _check_requirements(app.packages, app.origin)
    _check_names(app.cannot, app.origin, "cannot")


def _check_scenario(scenario: Scenario) -> None:
    if not scenario.file.is_file():
        raise ConfigurationError(f"{scenario.origin}: file: {scenario.file} does not exist")
    for need in scenario.needs:
        if need not in NEEDS:
            raise ConfigurationError(
                f"{scenario.origin}: needs: unknown need {need!r}" + _nearest(need, NEEDS)
            )
    _check_names(scenario.checks, scenario.origin, "checks")
    _check_agrees(scenario)


def _check_agrees(scenario: Scenario) -> None:
    """Hold that the row and its Locust file, which runs alone as well, say the same.

    The file is read, not run. What it computes instead of writing it down is not seen.
    """
    said = dict(_constants(scenario.file))
    pause = said.get("pause_s", 0.0)
    if pause != scenario.pause_s:
        raise ConfigurationError(
            f"{scenario.origin}: pause_s = {scenario.pause_s:g}, but {scenario.file.name} says "
            f"{pause!r}"
        )
    requests = said.get("requests_per_connection")
    if (requests is None) != scenario.keeps_connections:
        raise ConfigurationError(
            f"{scenario.origin}: keeps_connections = {str(scenario.keeps_connections).lower()}, "
            f"but {scenario.file.name} has requests_per_connection = {requests!r}"
        )


def _constants(file: Path) -> Iterator[tuple[str, Any]]:
    """What the classes of a Python file set to a constant."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (SyntaxError, ValueError):
        return  # Locust will say so
    for node in ast.walk(tree):
        for line in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(
                line.value, ast.Constant
            ):
                names = line.targets if isinstance(line, ast.Assign) else [line.target]
                yield from ((ast.unparse(name), line.value.value) for name in names)


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
