"""gatebench's machine: from a table of servers to numbers that can be believed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.history import History
    from harness.results import Results, load_run, load_runs
    from harness.store import UnreadableRunError

__version__ = "0.1.0"
__all__ = ["History", "Results", "UnreadableRunError", "load_run", "load_runs"]


def __getattr__(name: str) -> Any:
    """The reading of runs, imported when it is asked for: the load engine does without pandas."""
    if name == "History":
        from harness import history  # noqa: PLC0415

        return history.History
    if name in __all__:
        from harness import results  # noqa: PLC0415

        return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
