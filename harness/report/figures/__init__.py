"""Figures of a run: values (`figure`), made of results, and drawn by `vega` and by `plot`."""
