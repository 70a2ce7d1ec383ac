"""Where gatebench keeps what takes long to make, for every run of this user."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_root() -> Path:
    """The folder; GATEBENCH_CACHE moves it. It may not be there yet."""
    chosen = os.environ.get("GATEBENCH_CACHE")
    base = Path(chosen).expanduser() if chosen else user_cache_path("gatebench")
    return base.resolve()  # one spelling: it is written into every script of an environment
