"""Tables into rows: servers, fronts, apps and scenarios, every mistake named with file and row.

A table is a TOML file with any of `[servers.NAME]`, `[fronts.NAME]`, `[apps.NAME]` and
`[scenarios.NAME]`. Four come with gatebench; a user adds more with `--servers FILE`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.version import InvalidVersion, Version

from harness.front import unfit
from harness.model import App, ConfigurationError, Front, Scenario, Server
from harness.rows import check_app, check_before, check_front, check_scenario, check_server
from harness.table import R, collect, nearest, parse_table, wrong
from harness.verify import checks_for

HERE = Path(__file__).parent
SECTIONS = ("servers", "fronts", "apps", "scenarios")


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
    for check in scenario.checks:
        if check not in checks_for(server.speaks):
            return (
                f"scenario {scenario.name} needs the answer {check}, which no "
                f"{server.speaks.upper()} app gives, and server {server.name} serves these"
            )
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
        document = parse_table(path)
        for section in document:
            if section not in SECTIONS:
                raise wrong(
                    path, f"[{section}]", "is not a table gatebench knows", near=(section, SECTIONS)
                )
        collect(path, document, "servers", Server, servers, check_server)
        collect(path, document, "fronts", Front, fronts, check_front)
        collect(path, document, "apps", App, apps, check_app)
        collect(path, document, "scenarios", Scenario, scenarios, check_scenario)
    for front in fronts.values():
        check_before(front, servers)
    return Registry(servers, apps, scenarios, fronts)


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
            + nearest(pattern, rows)
            + f"; `gatebench list {kind}s` shows all"
        )
    return matched
