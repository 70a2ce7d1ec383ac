"""Which releases of a server there are: asked of the package index, as uv sees it.

uv has no command that lists releases, so it is asked for the newest, then for the newest below
that one's feature version, and so on. It answers as it would install: from the index that is
configured, what the Python can run, neither yanked nor a pre-release.
"""

from __future__ import annotations

import platform
import re

from packaging.requirements import Requirement
from packaging.version import Version

from harness.installer import (
    UNKNOWN,
    UNMET,
    Installer,
    Runner,
    brief,
    last_word,
    run_guarded,
    unreachable,
)
from harness.model import ConfigurationError, Server
from harness.process import scratch_folder

RANGE = re.compile(r"(\d+(?:\.\d+)*)\.\.(\d+(?:\.\d+)*)")
ASK = ("pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate")


def feature_versions(
    server: Server, text: str, python: str | None = None, run: Runner = run_guarded
) -> list[str]:
    """What to write after `server`'s @ for each feature version in the range `text`, oldest first.

    A feature version is major.minor, in its newest patch; `0.30..0.54` has those of 0.54, and
    `0.30..0.54.1` ends with that release. Raises ConfigurationError for what is not a range or
    has no release in it, MeasurementError where the index cannot be asked.
    """
    low, high = _ends(server, text)
    package = Requirement(server.packages[0]).name
    at_most = f"<={high}" if _exact(high) else f"<{_after(high)}"
    found: list[str] = []
    why = ""
    while True:
        newest, why = _newest(server, f"{package}>={low},{at_most}", python, run)
        if newest is None:
            break
        feature = f"{newest.major}.{newest.minor}"
        # the range may end within a feature version, of which a prefix would take the newest
        cut = _exact(high) and newest.release[:2] == high.release[:2]
        found.append(str(newest) if cut else feature)
        if (newest.major, newest.minor) <= low.release[:2]:
            break
        at_most = f"<{feature}"
    if not found:
        raise ConfigurationError(f"{server.name}@{text} has no release of {package}: {why}")
    return found[::-1]


def _ends(server: Server, text: str) -> tuple[Version, Version]:
    match = RANGE.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"{server.name}@{text} is not a range of versions; write {server.name}@1.2..1.5"
        )
    low, high = Version(match[1]), Version(match[2])
    if low > high and (_exact(high) or low >= _after(high)):
        raise ConfigurationError(
            f"{server.name}@{text} runs backwards; write {server.name}@{high}..{low}"
        )
    return low, high


def _exact(version: Version) -> bool:
    """Whether one release is meant, as with a version that is asked for alone."""
    return len(version.release) > 2


def _after(version: Version) -> Version:
    """The first version that does not begin as this one."""
    *first, last = version.release
    return Version(".".join(map(str, [*first, last + 1])))


def _newest(
    server: Server, requirement: str, python: str | None, run: Runner
) -> tuple[Version | None, str]:
    """The newest release that fits; or None, and uv's reason."""
    ask = Installer(server, run)
    version = python or platform.python_version()
    # only a version says what it can run without being there
    option = "--python-version" if re.fullmatch(r"\d+(\.\d+)*", version) else "--python"
    with scratch_folder() as folder:
        wanted = folder / "wanted.in"
        wanted.write_text(requirement + "\n", "utf-8")
        options = ("--prerelease", "disallow", option, version)
        answer = ask.uv(*ASK, *options, str(wanted), folder=folder)
    if found := re.search(r"^[^\s=]+==(\S+)", answer.log, re.MULTILINE):
        return Version(found[1]), ""
    if why := unreachable(answer.log):
        raise ask.error(f"{why}, which knows the releases: name versions, or connect", answer.log)
    text = " ".join(answer.log.split())
    if unknown := re.search(UNKNOWN, text):
        raise ConfigurationError(
            f"{server.name} ({server.origin}): the package index has no package {unknown[1]}"
        )
    if unmet := re.search(UNMET, text):
        return None, brief(unmet[0].partition(", we can conclude")[0])
    raise ask.error(f"uv cannot list its releases ({last_word(answer.log)})", answer.log)
