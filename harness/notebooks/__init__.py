"""The notebooks: which there are, what they take, and their execution on a run."""

from harness.notebooks.catalogue import Notebook, catalogue, values
from harness.notebooks.execution import Executed, NotebookError, execute, require_tools

__all__ = [
    "Executed", "Notebook", "NotebookError", "catalogue", "execute", "require_tools", "values",
]  # fmt: skip
