"""How numbers are written in Vega's expressions, as `harness.report.units` writes them."""

from __future__ import annotations

from typing import Any

from harness.report.figures.figure import Axis
from harness.report.figures.scale import Scale

DIGITS = 5  # of a number in the data: more are noise, and bytes
FORMATS = {
    "": f"format(V, ',.{DIGITS}~r')",
    "/s": f"format(V, ',.{DIGITS}~r')",
    "s": "V < 1e-3 ? format(V * 1e6, '.3~r') + ' µs' : V < 1 ? format(V * 1e3, '.3~r') + ' ms'"
    " : format(V, '.3~r') + ' s'",
    "bytes": "V < 4194304 ? format(V / 1024, '.3~r') + ' KiB'"
    " : format(V / 1048576, '.3~r') + ' MiB'",
    "share": "format(V, '.1%')",
}


def written_ticks(along: Scale) -> dict[str, Any]:
    """How ticks are written; the axis of bytes says its unit itself."""
    if along.axis.unit == "s":
        return {"labelExpr": f"datum.value ? {FORMATS['s'].replace('V', 'datum.value')} : '0'"}
    return {"format": ".0%" if along.axis.unit == "share" else f",.{DIGITS}~r"}


def written(axis: Axis, factor: float) -> str:
    """Vega's expression for a value with its unit."""
    value = f"datum.{axis.column}" if factor == 1 else f"(datum.{axis.column} * {factor:.0f})"
    return f"(isValid(datum.{axis.column}) ? {FORMATS[axis.unit].replace('V', value)} : '–')"
