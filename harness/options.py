"""The words of the command line, and what each may be."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from harness import __version__

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|)")
SECRETS = ("--app-env", "--request-header", "--request-body")
FACTORS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0}


def _duration(text: str) -> float:
    match = DURATION.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 5s, 500ms or 1m")
    return float(match[1]) * FACTORS[match[2]]


def _window(text: str) -> float:
    seconds = _duration(text)
    if seconds < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is too short to measure; give 1s or more")
    return seconds


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate per second above 0")
    return rate


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """One clear line for a mistake, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Exit 2 with the mistake and where help is."""
        self.exit(2, f"gatebench: {message} (see `{self.prog} --help`)\n")


def without_secrets(words: Sequence[str]) -> list[str]:
    """A command line as it is stored: what only an application should know is left out."""
    kept: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if option in SECRETS and equals:
            kept.append(f"{option}={_left_out(value)}")
        else:
            kept.append(_left_out(word) if kept and kept[-1] in SECRETS else word)
    return kept


def _left_out(value: str) -> str:
    """The name in `NAME=VALUE` or `Name: value`, and nothing of what has no name."""
    name = re.match(r"[\w-]+(?=[=:])", value)
    return f"{name[0]}=..." if name else "..."


def _status(text: str) -> int:
    if not text.isdecimal() or not 200 <= int(text) <= 599:
        raise argparse.ArgumentTypeError(f"{text!r} is not a status from 200 to 599")
    return int(text)


def _own_application(made: argparse.ArgumentParser) -> None:
    """Options that only go with an application of the user's own; none has a default."""
    option = made.add_argument_group("an application of your own (--app package.module:app)")
    add = option.add_argument
    add("--app-dir", type=Path, metavar="DIR", help="the folder it is imported from (default: .)")
    add(
        "--requirements",
        type=Path,
        metavar="FILE",
        help="what it needs, installed with each server",
    )
    add(
        "--interface",
        choices=("wsgi", "asgi"),
        help="what it speaks (default: what the servers speak)",
    )
    add(
        "--app-env",
        action="append",
        metavar="NAME=VALUE",
        help="a variable for it, which has none of yours; may be given again",
    )
    add("--request", metavar='"GET /x"', help='what it is asked (default: "GET /")')
    add("--request-header", action="append", metavar='"N: V"', help="a header; may be given again")
    add("--request-body", metavar="TEXT", help="the body, or @FILE")
    add("--expect-status", type=_status, metavar="N", help="of each answer (default: 2xx or 3xx)")
    add("--expect-body", metavar="TEXT", help="the whole body of each answer, or @FILE")


def _measuring(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option(
        "server",
        nargs="*",
        metavar="SERVER",
        help="name, glob, name@1.2,1.3 or name@1.2..1.9 (default: a few)",
    )
    option(
        "--scenario",
        action="append",
        metavar="S,...",
        help="kinds of work, or '*' (default: the usual)",
    )
    option(
        "--users",
        type=_number,
        metavar="N",
        help="closed load: users, each waiting for its last answer (default 32); "
        "with --rate: requests in flight at most (default 512)",
    )
    option("--rate", type=_rate, metavar="R", help="open load: requests due per second")
    option("--arrivals", choices=("constant", "poisson"), help="their spacing (default constant)")
    option(
        "--deadline",
        dest="deadline_s",
        type=_duration,
        default=60.0,
        metavar="60s",
        help="a request without an answer for so long is a timeout (default 60s)",
    )
    option(
        "--processes",
        type=_number,
        default=1,
        metavar="N",
        help="Locust processes that share users and rate (default 1)",
    )
    option("--duration", type=_window, default=5.0, metavar="5s", help="measured (default 5s)")
    option("--warmup", type=_duration, default=2.0, metavar="2s", help="discarded (default 2s)")
    option(
        "--blocks",
        type=_number,
        default=1,
        metavar="N",
        help="how often each cell is measured, in random order (default 1)",
    )
    option("--seed", type=int, metavar="N", help="of the order (default: drawn, and stored)")
    option(
        "--python",
        action="append",
        metavar="V,...",
        help="the servers' Pythons, a row for each (default: gatebench's own)",
    )
    option("--refresh", action="store_true", help="install the newest versions again")


def _calibration(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option(
        "--pairs",
        type=_number,
        default=5,
        metavar="N",
        help="how often each is measured, the generators right after each other (default 5)",
    )
    option(
        "--duration", type=_window, default=2.0, metavar="2s", help="of a measurement (default 2s)"
    )
    option("--seed", type=int, metavar="N", help="of the order (default: drawn, and stored)")
    option(
        "--only", action="append", metavar="PART,...", help="parts, such as hello (default: all)"
    )


def _probing(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option("server", nargs="+", metavar="SERVER", help="name, name@version or glob")
    option(
        "--only", action="append", metavar="PROBE,...", help="probes, such as sse (default: all)"
    )
    option("--workers", type=_number, default=2, metavar="N", help="worker processes (default 2)")
    option("--threads", type=_number, default=4, metavar="N", help="threads in each (default 4)")


def parser(do: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """The whole command line; `do` has what each command calls."""
    whole = _Parser(prog="gatebench", description="Which Python web server, with which workers?")
    whole.add_argument("--version", action="version", version=f"gatebench {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        made.set_defaults(do=do[name])
        made.add_argument("--json", action="store_true", help="print one JSON document")
        return made

    def tables(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--servers",
            type=Path,
            action="append",
            metavar="FILE",
            help="a TOML file with rows of your own; may be given again",
        )

    def budget(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--app",
            help="the app to serve, or package.module:app for one of your own "
            "(default: the raw app of its interface)",
        )
        made.add_argument(
            "--workers",
            type=_number,
            metavar="N",
            help="worker processes (default: one for each CPU the server gets)",
        )
        made.add_argument(
            "--threads",
            type=_number,
            default=4,
            metavar="N",
            help="threads in each worker, where it has threads (default 4)",
        )

    def results(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--results",
            type=Path,
            default=Path("results"),
            metavar="DIR",
            help="where runs are kept (default: results)",
        )

    made = command("list", "what can be measured: servers, fronts, apps, scenarios")
    made.add_argument("what", nargs="?", choices=("servers", "fronts", "apps", "scenarios"))
    tables(made)

    made = command("run", "measure servers, store the run, and report it")
    _measuring(made)
    budget(made)
    _own_application(made)
    tables(made)
    results(made)

    made = command("serve", "just start a server, for a look")
    made.add_argument("server", metavar="SERVER")
    made.add_argument(
        "--port", type=_number, metavar="N", help="listen there (default: a free port)"
    )
    budget(made)
    _own_application(made)
    tables(made)

    made = command("report", "print a run again, and write its report.md")
    made.add_argument("run", nargs="*", metavar="RUN", help="folder or name (default: the newest)")
    made.add_argument(
        "--hdr", action="store_true", help="also write its latencies as HdrHistogram logs, RUN/hdr/"
    )
    results(made)

    _calibration(command("calibrate", "measure the generator itself, beside wrk and others"))

    made = command("probe", "what each server can really do, by trying it")
    _probing(made)
    tables(made)
    results(made)

    made = command("doctor", "what is missing here, and the command that installs it")
    results(made)
    return whole
