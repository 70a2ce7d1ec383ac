"""A user's own application in place of the apps that answer the contract.

It is asked one request, and held to what is known of its answer. Before a server starts it, it
is imported alone in the server's environment, so that its own mistakes are told as its own.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.cells import DEFAULT_SERVERS
from harness.injection import split_injection
from harness.installer import run_guarded
from harness.launch import READY_WITHIN_S, clean_environment
from harness.model import (
    App,
    ConfigurationError,
    Environment,
    Interface,
    MeasurementError,
    Request,
    Scenario,
    Server,
)
from harness.process import scratch_folder
from harness.registry import Registry, data_folder

INSPECTOR = Path(__file__).with_name("inspector.py")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WITH_BODY = ("POST", "PUT", "PATCH")
PATH = re.compile(r"/[!-~]*")
HEADER = re.compile(r"([A-Za-z0-9-]+):\s*([ -~]*?)\s*")
# said by the generator, or about the connection and not the request
NOT_TO_SET = ("content-length", "transfer-encoding", "connection", "upgrade", "expect")
VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
# the programs are those of the environment, and the app's folder comes first
NOT_TO_CHANGE = ("PATH", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of it; see its options' help."""

    target: str
    folder: Path = Path()
    requirements: Path | None = None
    interface: Interface | None = None
    variables: Sequence[str] = ()
    request: str = "GET /"
    headers: Sequence[str] = ()
    body: str | None = None
    status: int | None = None
    expect: str | None = None


OPTIONS = {
    "folder": "app_dir", "requirements": "requirements", "interface": "interface",
    "variables": "app_env", "request": "request", "headers": "request_header",
    "body": "request_body", "status": "expect_status", "expect": "expect_body",
}  # fmt: skip
OF_ANY_APP = ("request", "status", "expect")
# what our apps are asked to wait, in milliseconds
WAIT = re.compile(r"/(?:sleep|upstream)/(\d{1,9})(?:\?.*)?")


def asked_of(arguments: argparse.Namespace, registry: Registry) -> Asked | None:
    """What is said of an application of the user's own; None if --app names a row, or nothing."""
    said = {
        field: value
        for field, option in OPTIONS.items()
        if (value := getattr(arguments, option)) is not None
    }
    app = arguments.app
    if app is not None and ":" in app and app not in registry.apps:
        return Asked(app, **said)
    if beyond := [field for field in said if field not in OF_ANY_APP]:
        option = OPTIONS[beyond[0]].replace("_", "-")
        raise ConfigurationError(f"--{option} goes with --app package.module:app, one of your own")
    return None


def own_registry(
    registry: Registry, asked: Asked, words: Sequence[str]
) -> tuple[Registry, list[str]]:
    """The rows with this application and its request alone, and the servers to measure.

    Raises ConfigurationError for what cannot be served or asked.
    """
    names = [split_injection(re.split("#", word)[0])[0].partition("@")[0] for word in words]
    app = _app(asked, _interface(asked, registry.select_servers(names)))
    if not words:
        usual = registry.select_servers(DEFAULT_SERVERS)
        words = [server.name for server in usual if server.speaks == app.speaks]
    scenario = _scenario(read_request(asked))
    own = replace(registry, apps={app.name: app}, scenarios={scenario.name: scenario})
    return own, list(words)


def asked_request(arguments: argparse.Namespace) -> Scenario | None:
    """The request that our apps are asked in place of a scenario; None without --request."""
    if arguments.request is None:
        if arguments.expect_status is not None or arguments.expect_body is not None:
            raise ConfigurationError("--expect-status and --expect-body go with --request")
        return None
    said = {field: getattr(arguments, OPTIONS[field]) for field in OF_ANY_APP}
    asked = {field: value for field, value in said.items() if value is not None}
    scenario = _scenario(read_request(Asked("", **asked)))
    wait = WAIT.fullmatch(scenario.name.partition(" ")[2])
    return replace(scenario, wait_s=int(wait[1]) / 1000) if wait else scenario


def _scenario(request: Request) -> Scenario:
    return Scenario(
        name=request.name,
        file=data_folder("scenarios") / "request.py",
        about="a request of your own",
        checks=(),
        origin="--request",
        request=request,
    )


def _interface(asked: Asked, servers: Iterable[Server]) -> Interface:
    """What is said, or else what all the servers speak."""
    if asked.interface is not None:
        return asked.interface
    by_interface = {server.speaks: server.name for server in servers}
    if len(by_interface) == 1:
        return next(iter(by_interface))
    both = " and ".join(f"{name} ({speaks.upper()})" for speaks, name in by_interface.items())
    why = f"the servers speak both, as {both}" if both else "no server is named"
    raise ConfigurationError(
        f"app {asked.target}: say --interface wsgi or --interface asgi, because {why}"
    )


def _app(asked: Asked, interface: Interface) -> App:
    module, _, path = asked.target.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *path.split(".")]):
        raise ConfigurationError(
            f"app {asked.target!r} is not written package.module:app (a function that makes the "
            "application is not called: let a module hold what it returns)"
        )
    folder = asked.folder.expanduser().resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"--app-dir {asked.folder}: is not a folder")
    requirements = asked.requirements
    if requirements is not None:
        requirements = requirements.expanduser().resolve()
        if not requirements.is_file():
            raise ConfigurationError(f"--requirements {asked.requirements}: is not a file")
    top = module.partition(".")[0]
    if requirements is None and not any(folder.glob(f"{top}.*")) and not (folder / top).is_dir():
        raise ConfigurationError(
            f"app {asked.target}: there is no module {top} in {folder}; "
            "name the folder that it is in with --app-dir"
        )
    return App(
        name=asked.target,
        speaks=interface,
        folder=folder,
        target=asked.target,
        origin=f"--app {asked.target}",
        requirements=requirements,
        variables=read_variables(asked.variables),
        own=True,
    )


def read_variables(lines: Iterable[str]) -> Mapping[str, str]:
    """What --app-env says; ConfigurationError where it cannot be read."""
    found = {}
    for line in lines:
        match = VARIABLE.fullmatch(line)
        if match is None:
            raise ConfigurationError(f"--app-env {line!r} is not written NAME=VALUE")
        if match[1] in NOT_TO_CHANGE:
            raise ConfigurationError(f"--app-env {match[1]}: is what gatebench itself sets")
        found[match[1]] = match[2]
    return found


def read_request(asked: Asked) -> Request:
    """The request and its right answer; ConfigurationError where it cannot be sent."""
    words = asked.request.split()
    method, path = ("GET", *words) if len(words) == 1 else (*words, "", "")[:2]
    method = method.upper()
    if len(words) > 2 or method not in METHODS or not PATH.fullmatch(path):
        raise ConfigurationError(
            f'--request {asked.request!r} is not written like "GET /items/3"; '
            f"methods are {', '.join(METHODS)}"
        )
    if asked.body is not None and method not in WITH_BODY:
        raise ConfigurationError(f"--request-body: a {method} has no body; write POST {path}")
    body = None if asked.body is None else read_body(asked.body)
    return Request(
        method,
        path,
        read_headers(asked.headers),
        b"" if body is None and method in WITH_BODY else body,
        asked.status,
        None if asked.expect is None else _bytes("--expect-body", asked.expect),
    )


def read_headers(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """What --request-header says; ConfigurationError where it cannot be sent."""
    return tuple(_header(line) for line in lines)


def read_body(text: str) -> bytes:
    """What --request-body says, or the file that it names."""
    return _bytes("--request-body", text)


def _header(line: str) -> tuple[str, str]:
    match = HEADER.fullmatch(line)
    if match is None:
        raise ConfigurationError(f'--request-header {line!r} is not written "Name: value"')
    if match[1].lower() in NOT_TO_SET:
        raise ConfigurationError(f"--request-header {match[1]}: is what the generator itself says")
    return match[1], match[2]


def _bytes(option: str, text: str) -> bytes:
    """The text, or what the file holds that it names with @."""
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{option} {text}: cannot be read: {error.strerror}") from None


def what_is_held(registry: Registry) -> str:
    """What every answer is held to, for the report."""
    (app,), (scenario,) = registry.apps.values(), registry.scenarios.values()
    held = held_to(scenario.request or Request())
    return f"own application {app.name} ({app.speaks.upper()}), {held}"


def held_to(request: Request) -> str:
    """What every answer to a request is held to, in words."""
    status = request.status or "the status of the first (2xx or 3xx)"
    body = "not to a body"
    if request.expect is not None:
        body = f"to a body of {len(request.expect)} bytes"
    return (
        f"{request.name}: every answer was "
        f"held to {status if isinstance(status, str) else f'status {status}'}, {body}; "
        "which worker answers is not known"
    )


def inspect(server: Server, app: App, environment: Environment) -> None:
    """Import the application in the server's environment; MeasurementError if that fails."""
    with scratch_folder() as home:
        variables = clean_environment(environment, app, home)
        text = INSPECTOR.read_text("utf-8")
        try:
            argv = [str(environment.bin / "python"), "-c", text, app.target]
            done = run_guarded(argv, variables, READY_WITHIN_S)
        except TimeoutError as error:
            what = f"its import did not end within {READY_WITHIN_S:.0f} s: does it start a server?"
            raise _wrong(app, what, str(error)) from None
    log, _, last = done.log.rstrip().rpartition("\n")
    try:
        mistake = _mistake(server, app, json.loads(last))
    except ValueError:
        what = f"its import ended Python with exit code {done.returncode}"
        raise _wrong(app, what, done.log) from None
    if mistake:
        raise _wrong(app, mistake, log)


def _mistake(server: Server, app: App, found: Mapping[str, object]) -> str | None:
    """What is wrong with the application, in words; None if nothing is."""
    module = app.target.partition(":")[0]
    ask = "" if app.requirements else ": name what it needs with --requirements FILE"
    match found:
        case {"own": True, "missing": missing}:
            return f"there is no module {missing} in {app.folder}" + (
                " or its requirements" if app.requirements else ""
            )
        case {"error": error, "where": where, "missing": missing}:
            at = f" ({where[0]}, line {where[1]})" if isinstance(where, list) else ""
            return f"cannot be imported: {error}{at}" + (ask if missing else "")
        case {"lacks": name, "has": list(has)}:
            near = difflib.get_close_matches(str(name), has, n=1)
            return f"module {module} has no {name}" + (f"; did you mean {near[0]}?" if near else "")
        case {"kind": kind}:
            return f"is a {kind} and no application: it cannot be called"
        case {"speaks": str(speaks)} if speaks != app.speaks:
            return (
                f"speaks {speaks.upper()}, as its call shows, and server {server.name} speaks "
                f"{server.speaks.upper()}: choose other servers"
            )
    return None


def _wrong(app: App, what: str, log: str) -> MeasurementError:
    tail = "\n".join(line.rstrip() for line in log.splitlines()[-12:] if line.strip())
    return MeasurementError(f"app {app.target}: {what}", log=tail)
