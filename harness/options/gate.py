"""The options of `gatebench gate`: two sides, and what is held of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.options.groups import budget, measuring, own_application, results, tables
from harness.options.values import threshold


def gate(made: argparse.ArgumentParser) -> None:
    """All of them."""
    made.add_argument(
        "server", nargs="?", metavar="SERVER", help="of both sides, where --base and --head differ "
        "in something else",
    )  # fmt: skip
    sides(made)
    held(made)
    measuring(made, usual_blocks=8, usual_placebo=True)
    budget(made)
    own_application(made)
    tables(made)
    results(made)
    made.set_defaults(usual=vars(made.parse_args([])))


def sides(made: argparse.ArgumentParser) -> None:
    """What base and head are."""
    option = made.add_argument_group(
        "base and head",
        "A server, a version or a checkout of it (uvicorn@0.30, uvicorn@../uvicorn, "
        "uvicorn@git+https://...@main), or a command line with {app}, {host} and {port} in it.",
    ).add_argument
    option("--base", metavar="A", help="what head is held to")
    option("--head", metavar="B", help="what must not be worse")
    for side in ("base", "head"):
        option(
            f"--{side}-dir", type=Path, metavar="DIR",
            help=f"{side}'s checkout of the application (--app package.module:app)",
        )  # fmt: skip
        option(
            f"--{side}-requirements", type=Path, metavar="FILE",
            help=f"what {side}'s application needs",
        )  # fmt: skip
    for name, whose in (
        ("package", "both sides"),
        ("base-package", "base"),
        ("head-package", "head"),
    ):
        option(
            f"--{name}", action="append", metavar="P",
            help=f"a package that {whose} has in place of its own: h11==0.14, ./h11, "
            "h11@git+https://...@main; may be given again",
        )  # fmt: skip


def held(made: argparse.ArgumentParser) -> None:
    """When it passes, and who is told."""
    option = made.add_argument
    option(
        "--threshold", type=threshold, default={}, metavar="10%",
        help="tolerate more than usual, of all ratios or of one figure each: "
        "throughput=10%%,memory=20%%",
    )  # fmt: skip
    option(
        "--extend", action="store_true",
        help="measure as many blocks again if anything is inconclusive (both looks then share the "
        "level of significance)",
    )  # fmt: skip
    option("--strict", action="store_true", help="exit with 11 if anything is inconclusive")
    option(
        "--summary", type=Path, metavar="FILE",
        help="write Markdown for the pull request (default: GITHUB_STEP_SUMMARY, if that is set)",
    )  # fmt: skip
    option("--junit", type=Path, metavar="FILE", help="write JUnit's XML")
    option("--run", metavar="RUN", help="measure nothing: judge the run of an earlier gate again")
