"""What all Vega-Lite graphs have in common: fonts, and a theme's colours where they belong."""

from __future__ import annotations

from typing import Any

from harness.report.figures.style import Theme

FONT = "system-ui, sans-serif"
Spec = dict[str, Any]


def config(colours: Theme) -> Spec:
    """Vega-Lite's configuration in a theme's colours."""
    words = {"labelColor": colours.quiet, "titleColor": colours.quiet, "titleFontWeight": "normal",
             "labelFontSize": 11, "titleFontSize": 11}  # fmt: skip
    return {
        "font": FONT,
        "background": colours.background,
        "view": {"stroke": None},
        "axis": {**words, "gridColor": colours.grid, "domainColor": colours.grid,
                 "tickColor": colours.grid, "titlePadding": 8},
        "axisY": {"titleAlign": "left", "titleAngle": 0, "titleX": 0, "titleY": -12,
                  "titleAnchor": "end"},
        "legend": {**words, "labelColor": colours.text, "symbolStrokeWidth": 2},
    }  # fmt: skip
