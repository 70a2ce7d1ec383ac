"""Every frame as Parquet, with its types: for pandas, Polars, DuckDB, R and Spark."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.export.frames import flat_frames
from harness.results import Results
from harness.store import write_bytes


def write(results: Results, folder: Path) -> list[Path]:
    """A file of each frame; their paths."""
    written = []
    for name, frame in flat_frames(results):
        content = BytesIO()
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), content)
        path = folder / f"{name}.parquet"
        write_bytes(path, content.getvalue())
        written.append(path)
    return written
