"""The whole command line: each command with its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from harness import __version__
from harness.options.gate import gate
from harness.options.groups import (
    budget,
    measuring,
    own_application,
    page,
    results,
    searching,
    tables,
)
from harness.options.history import history
from harness.options.values import duration, number, share, window


class Parser(argparse.ArgumentParser):
    """One clear line for a mistake, instead of the whole usage."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse has it, but what is left over is a mistake of the command it was given to,
        which knows its own options.
        """
        known, left = super().parse_known_args(args, namespace)
        if left:
            options = [it for action in self._actions for it in action.option_strings]
            meant = [
                near
                for word in left
                if word.startswith("-")
                for near in get_close_matches(word.partition("=")[0], options, 1)
            ]
            hint = f"; did you mean {' '.join(meant)}?" if meant else ""
            self.error(f"unrecognized arguments: {' '.join(left)}{hint}")
        return known, left

    def error(self, message: str) -> NoReturn:
        """Exit 2 with the mistake and where help is."""
        self.exit(2, f"gatebench: {message} (see `{self.prog} --help`)\n")


def _calibration(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option(
        "--pairs",
        type=number,
        default=5,
        metavar="N",
        help="how often each is measured, the generators right after each other (default 5)",
    )
    option(
        "--duration", type=window, default=2.0, metavar="2s", help="of a measurement (default 2s)"
    )
    option("--seed", type=int, metavar="N", help="of the order (default: drawn, and stored)")
    option(
        "--only", action="append", metavar="PART,...", help="parts, such as hello (default: all)"
    )


def _notebooks(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option(
        "words", nargs="*", metavar="RUN|NOTEBOOK",
        help="a run's folder or name (default: the newest), and notebooks, such as blocking_io "
        "(default: all)",
    )  # fmt: skip
    option(
        "-p", "--parameter", action="append", metavar="NAME=VALUE",
        help="a parameter of the notebooks; may be given again",
    )  # fmt: skip
    option("--output", type=Path, metavar="DIR", help="where they are kept (default RUN/notebooks)")
    results(made)


def _probing(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option("server", nargs="+", metavar="SERVER", help="name, name@version or glob")
    option(
        "--only", action="append", metavar="PROBE,...", help="probes, such as sse (default: all)"
    )
    option("--workers", type=number, default=2, metavar="N", help="worker processes (default 2)")
    option("--threads", type=number, default=4, metavar="N", help="threads in each (default 4)")


def _capacity(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option("server", nargs="+", metavar="SERVER", help="name, name@version or glob")
    option(
        "--slo", required=True, metavar="TERM,...",
        help="the objective: p50, p99, p99.9, mean or max below us, ms or s, errors below a "
        'share, throughput above a rate: "p99<100ms,errors<0.1%%"',
    )  # fmt: skip
    option(
        "--precision", type=share, default=0.05, metavar="5%",
        help="how close the two ends come (default 5%%)",
    )  # fmt: skip
    option(
        "--in-flight", type=number, metavar="N",
        help="requests in flight at most (default 512, more for a slow objective)",
    )  # fmt: skip
    option(
        "--deadline", dest="try_deadline_s", type=duration, metavar="1s",
        help="a request without an answer for so long is missed (default: 3 times the longest "
        "limit, and 1s at least)",
    )  # fmt: skip
    searching(made, "hello", 5.0)


def _tune(made: argparse.ArgumentParser) -> None:
    option = made.add_argument
    option("server", nargs=1, metavar="SERVER", help="name, or name@version")
    option(
        "--blocks", type=number, metavar="N",
        help="how often each configuration is measured, in random order (default 4)",
    )  # fmt: skip
    option("--budget", type=duration, metavar="10m", help="as many blocks as fit into that time")
    option(
        "--users", type=number, metavar="N",
        help="requests that come at once, each waiting for its last answer (default 32)",
    )  # fmt: skip
    option(
        "--sweep", action="append", metavar="X=1,2,4..64",
        help="the workers or threads to try (default: a few); may be given again",
    )  # fmt: skip
    searching(made, "hello and blocking-io", 3.0)
    made.set_defaults(usual_blocks=4, users=32)


def _duel(made: argparse.ArgumentParser) -> None:
    for name in ("A", "B"):
        made.add_argument(name.lower(), metavar=name, help="name, or name@version")
    measuring(made, usual_blocks=8, usual_placebo=True)
    made.add_argument(
        "--inject",
        metavar="cpu=5%",
        help="let B's app burn so much more CPU for each request, or a time (cpu=12us): what is "
        "then found is known",
    )
    made.add_argument(
        "--extend",
        action="store_true",
        help="measure as many blocks again if anything is inconclusive (both looks then share "
        "the level of significance)",
    )
    budget(made)
    page(made)
    own_application(made)
    tables(made)
    results(made)


def _selfcheck(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "a", nargs="?", default="uvicorn", metavar="SERVER", help="name (default uvicorn)"
    )
    made.add_argument(
        "--times", type=number, default=3, metavar="N", help="comparisons (default 3)"
    )
    measuring(made, usual_blocks=6, duration_s=2.0, warmup_s=1.0)
    budget(made)
    own_application(made)
    tables(made)
    results(made)


def parser(do: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """The whole command line; `do` has what each command calls."""
    whole = Parser(prog="gatebench", description="Which Python web server, with which workers?")
    whole.add_argument("--version", action="version", version=f"gatebench {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        made.set_defaults(do=do[name])
        made.add_argument("--json", action="store_true", help="print one JSON document")
        return made

    made = command("list", "what can be measured, and what runs can be exported to")
    made.add_argument(
        "what", nargs="?", choices=("servers", "fronts", "apps", "scenarios", "exports")
    )
    tables(made)

    made = command("run", "measure servers, store the run, and report it")
    made.add_argument(
        "server",
        nargs="*",
        metavar="SERVER",
        help="name, glob, name@1.2,1.3 or name@1.2..1.9 (default: a few)",
    )
    measuring(made, usual_blocks=1)
    made.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run that was not finished, or in which trials failed: those that "
        "were measured stay, the others are measured (again)",
    )
    budget(made)
    page(made)
    own_application(made)
    tables(made)
    results(made)
    made.set_defaults(usual=vars(made.parse_args([])))

    _duel(command("compare", "whether B is better or worse than A, with a placebo beside them"))
    gate(command("gate", "whether head is worse than base: for continuous integration"))
    _selfcheck(command("selfcheck", "that this machine calls no server different from itself"))

    _capacity(command("capacity", "the highest rate at which a server still meets an objective"))
    _tune(command("tune", "how many workers and threads to run, for an app and a kind of work"))

    made = command("serve", "just start a server, for a look")
    made.add_argument("server", metavar="SERVER")
    made.add_argument(
        "--port", type=number, metavar="N", help="listen there (default: a free port)"
    )
    budget(made)
    own_application(made)
    tables(made)

    made = command("report", "print a run again, and write its page and report.md")
    made.add_argument("run", nargs="*", metavar="RUN", help="folder or name (default: the newest)")
    made.add_argument(
        "--export", action="append", metavar="FORMAT,...",
        help="also write it for other programs, such as csv,junit (`gatebench list exports`)",
    )  # fmt: skip
    made.add_argument(
        "--export-dir", type=Path, metavar="DIR", help="where to (default: RUN/export)"
    )
    made.add_argument(
        "--hdr", action="append_const", dest="export", const="hdr", help="short for --export hdr"
    )
    made.add_argument(
        "--splice", type=Path, metavar="FILE",
        help="put the tables into a Markdown file, between <!-- results --> and <!-- /results -->",
    )  # fmt: skip
    results(made)

    history(command("history", "keep runs over time, and see what became of them"))
    _notebooks(command("notebooks", "ask a run questions: executed notebooks, and their pages"))

    _calibration(command("calibrate", "measure the generator itself, beside wrk and others"))

    made = command("probe", "what each server can really do, by trying it")
    _probing(made)
    tables(made)
    results(made)

    made = command("doctor", "what is missing here, and the command that installs it")
    results(made)
    return whole
