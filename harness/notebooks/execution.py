"""A notebook executed on a run: papermill drives a kernel that is ours to end.

What comes out is kept twice: as .ipynb, and as a page that loads nothing and runs nothing. A
notebook that does not suit its run says so and raises `NothingToShow`, which is an answer and no
failure: it then ends there.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.model import ConfigurationError, GatebenchError
from harness.notebooks.catalogue import Notebook
from harness.process import scratch_folder

if TYPE_CHECKING:
    from nbformat import NotebookNode

TOOLS = ("jupytext", "papermill", "nbconvert", "ipykernel", "matplotlib")
NOTHING_TO_SHOW = "NothingToShow"  # notebooks/show.py raises it


class NotebookError(GatebenchError):
    """A notebook failed in one of its cells, or its kernel ended. Exit code 1."""


@dataclass(frozen=True)
class Executed:
    """A notebook that was executed: its .ipynb, its page, and why it has nothing to show, or ""."""

    name: str
    notebook: Path
    page: Path
    nothing: str = ""


def require_tools() -> None:
    """ConfigurationError, with the command that installs them, if the notebooks' tools lack."""
    missing = [name for name in TOOLS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the notebooks need {', '.join(missing)}: `make notebooks` installs what they need, "
            f"and so does `python -m pip install {' '.join(TOOLS)}`"
        )


def execute(notebook: Notebook, values: Mapping[str, Any], folder: Path) -> Executed:
    """Execute a notebook with these values; its .ipynb and .html are then in `folder`.

    NotebookError if a cell fails: the .ipynb has what was done. When interrupted, nothing is kept
    and nothing left running.
    """
    import jupytext  # noqa: PLC0415  these are imported for none of the other commands
    import nbformat  # noqa: PLC0415
    import papermill  # noqa: PLC0415

    from harness.notebooks.kernel import kernel  # noqa: PLC0415

    kept, page = (folder / f"{notebook.name}.{ending}" for ending in ("ipynb", "html"))
    own = {name: value for name, value in values.items() if name in notebook.parameters}
    nothing = ""
    failure = None
    with scratch_folder() as work, kernel(notebook.file.parent, work) as own_kernel:
        try:
            papermill.execute_notebook(
                jupytext.read(notebook.file), str(work / "out.ipynb"), own, km=own_kernel,
                kernel_name="python3", progress_bar=False,
            )  # fmt: skip
        except papermill.PapermillExecutionError as error:
            if error.ename == NOTHING_TO_SHOW:
                nothing = str(error.evalue)
            else:
                failure = f"cell {error.exec_count}: {error.ename}: {error.evalue}"
        except KeyboardInterrupt:
            # the cell that nobody waits for any more ends with its kernel, and asyncio would tell
            logging.getLogger("asyncio").disabled = True
            raise
        except RuntimeError as error:  # nbclient's word for a kernel that died or never came
            failure = f"its kernel ended: {error}"
        done = nbformat.read(work / "out.ipynb", 4)
    done.metadata["title"] = notebook.title
    if not failure:
        _tidy(done, ended_early=bool(nothing))
    try:
        nbformat.write(done, kept)
        page.unlink(missing_ok=True)
        if not failure:
            page.write_text(as_page(done), "utf-8")
    except OSError as error:
        raise NotebookError(
            f"{error.filename or kept}: cannot be written: {error.strerror}"
        ) from None
    if failure:
        raise NotebookError(f"{notebook.name}: {failure}; what was done before is in {kept}")
    return Executed(notebook.name, kept, page, nothing)


def _tidy(done: NotebookNode, *, ended_early: bool) -> None:
    """Take out papermill's banners; and where a notebook ended early, what it did not come to."""
    cells = [
        cell for cell in done.cells
        if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]  # fmt: skip
    if ended_early:
        errors = [
            at for at, cell in enumerate(cells)
            if any(it.output_type == "error" for it in cell.get("outputs", []))
        ]  # fmt: skip
        cells = cells[: errors[0] + 1]
        cells[-1].outputs = [it for it in cells[-1].outputs if it.output_type != "error"]
    done.cells = cells


# No scripts, nothing from elsewhere: what names and logs say stays text.
PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block data_png scoped -%}
<div class="jp-RenderedImage jp-OutputArea-output">
<img src="data:image/png;base64,{{ output.data['image/png'] }}"
  alt="{{ output | get_metadata('alt', 'image/png') | e }}"
  width="{{ output | get_metadata('width', 'image/png') | e }}">
</div>
{%- endblock -%}
{%- block html_head_css -%}
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'">
<style>
  main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
  .jp-RenderedHTMLCommon table { margin-left: 0; font-variant-numeric: tabular-nums; }
  .jp-RenderedImage img { max-width: 100%; height: auto; }
</style>
{%- endblock -%}
"""


def as_page(done: NotebookNode) -> str:
    """An executed notebook as HTML that stands alone: words, tables and figures, without code."""
    from nbconvert import HTMLExporter  # noqa: PLC0415

    exporter = HTMLExporter(
        raw_template=PAGE, exclude_input=True, exclude_input_prompt=True,
        exclude_output_prompt=True,
    )  # fmt: skip
    text, _ = exporter.from_notebook_node(done)
    return str(text)
