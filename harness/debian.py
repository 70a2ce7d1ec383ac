"""What a server or proxy needs of the system beside its environment, and how to install it."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from harness.model import Front, MeasurementError, Server

# a user's PATH on Debian lacks the folders of daemons such as apache2
PROGRAMS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
HEADERS = (Path(sysconfig.get_path("include")), Path("/usr/include"), Path("/usr/local/include"))


def missing(row: Server | Front) -> list[str]:
    """The Debian packages of the row that are not seen here, in the row's order."""
    return [package for package, shown_by in row.debian.items() if not _seen(shown_by)]


def require(row: Server | Front) -> None:
    """Raise MeasurementError, with the command that mends it, if anything is missing."""
    if packages := missing(row):
        raise MeasurementError(
            f"{row.label} ({row.origin}) needs {' and '.join(packages)} of the system: "
            + install(packages)
        )


def install(packages: Iterable[str]) -> str:
    """The one command that installs the packages."""
    return f"apt-get install {' '.join(packages)}"


def _seen(name: str) -> bool:
    if name.endswith(".h"):
        return any((folder / name).is_file() for folder in HEADERS)
    return shutil.which(name, path=PROGRAMS) is not None
