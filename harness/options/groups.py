"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.options.values import duration, number, rate, status, window


def own_application(made: argparse.ArgumentParser) -> None:
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
    add(
        "--request",
        metavar='"GET /x"',
        help='what it is asked (default: "GET /"); our apps are asked it in place of a scenario',
    )
    add("--request-header", action="append", metavar='"N: V"', help="a header; may be given again")
    add("--request-body", metavar="TEXT", help="the body, or @FILE")
    add("--expect-status", type=status, metavar="N", help="of each answer (default: 2xx or 3xx)")
    add("--expect-body", metavar="TEXT", help="the whole body of each answer, or @FILE")


def measuring(
    made: argparse.ArgumentParser,
    usual_blocks: int,
    *,
    usual_placebo: bool = False,
    duration_s: float = 5.0,
    warmup_s: float = 2.0,
) -> None:
    """What is measured, under which load, how long, and how often."""
    option = made.add_argument
    option(
        "--scenario",
        action="append",
        metavar="S,...",
        help="kinds of work, or '*' (default: the usual)",
    )
    option(
        "--users",
        type=number,
        metavar="N",
        help="closed load: users, each waiting for its last answer (default 32); "
        "with --rate: requests in flight at most (default 512)",
    )
    option("--rate", type=rate, metavar="R", help="open load: requests due per second")
    option("--arrivals", choices=("constant", "poisson"), help="their spacing (default constant)")
    option(
        "--deadline",
        dest="deadline_s",
        type=duration,
        default=60.0,
        metavar="60s",
        help="a request without an answer for so long is a timeout (default 60s)",
    )
    option(
        "--processes",
        type=number,
        default=1,
        metavar="N",
        help="Locust processes that share users and rate (default 1)",
    )
    option(
        "--sweep",
        action="append",
        metavar="X=1,2,4..64",
        help="a cell for each value of users, rate, workers or threads; may be given again",
    )
    for name, kind, usual_s, what in (
        ("--duration", window, duration_s, "measured"),
        ("--warmup", duration, warmup_s, "discarded"),
    ):
        usual = f"{usual_s:g}s"
        option(name, type=kind, default=usual_s, metavar=usual, help=f"{what} (default {usual})")
    option(
        "--blocks",
        type=number,
        metavar="N",
        help=f"how often each cell is measured, in random order (default {usual_blocks})",
    )
    option(
        "--budget",
        type=duration,
        metavar="10m",
        help="as many blocks as fit into that time, but at least one",
    )
    made.set_defaults(usual_blocks=usual_blocks, live=False)  # unless it takes --live
    option(
        "--placebo",
        action=argparse.BooleanOptionalAction,
        default=usual_placebo,
        help="enter the first server twice: it must not be found different from itself",
    )
    option("--seed", type=int, metavar="N", help="of the order (default: drawn, and stored)")
    option(
        "--python",
        action="append",
        metavar="V,...",
        help="the servers' Pythons, a row for each (default: gatebench's own)",
    )
    option("--refresh", action="store_true", help="install the newest versions again")


def tables(made: argparse.ArgumentParser) -> None:
    """Rows of the user's own."""
    made.add_argument(
        "--servers",
        type=Path,
        action="append",
        metavar="FILE",
        help="a TOML file with rows of your own; may be given again",
    )


def budget(made: argparse.ArgumentParser) -> None:
    """What each server is given."""
    made.add_argument(
        "--app",
        help="the app to serve, or package.module:app for one of your own "
        "(default: the raw app of its interface)",
    )
    made.add_argument(
        "--workers",
        type=number,
        metavar="N",
        help="worker processes (default: one for each CPU the server gets)",
    )
    made.add_argument(
        "--threads",
        type=number,
        default=4,
        metavar="N",
        help="threads in each worker, where it has threads (default 4)",
    )


def page(made: argparse.ArgumentParser) -> None:
    """Whether a run can be looked at while it goes."""
    made.add_argument(
        "--live",
        action="store_true",
        help="serve Locust's own web page of the trial under way, on loopback; it costs the "
        "generator CPU, and what would change the load ends its trial",
    )


def results(made: argparse.ArgumentParser) -> None:
    """Where runs are kept."""
    made.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where runs are kept (default: results)",
    )


def searching(made: argparse.ArgumentParser, scenario: str, window_s: float) -> None:
    """What capacity and tune have in common; what they do not take is None for those they call."""
    option = made.add_argument
    option(
        "--scenario", action="append", metavar="S,...", help=f"kinds of work (default {scenario})"
    )
    option(
        "--duration", type=window, default=window_s, metavar=f"{window_s:g}s",
        help=f"measured each time, at the least (default {window_s:g}s)",
    )  # fmt: skip
    option("--warmup", type=duration, default=2.0, metavar="2s", help="discarded (default 2s)")
    option("--seed", type=int, metavar="N", help="of order and arrivals (default: drawn, stored)")
    option(
        "--processes", type=number, default=1, metavar="N",
        help="Locust processes that share users and rate (default 1)",
    )  # fmt: skip
    option("--python", action="append", metavar="V", help="the servers' Python")
    option("--refresh", action="store_true", help="install the newest versions again")
    made.set_defaults(
        rate=None, arrivals=None, budget=None, sweep=None, placebo=False, blocks=None,
        usual_blocks=1, deadline_s=60.0, users=None,
    )  # fmt: skip
    budget(made)
    page(made)
    own_application(made)
    tables(made)
    results(made)
