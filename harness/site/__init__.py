"""A history as a static site: an overview, a graph of each series, what to look at, and a feed.

Its files, in the order of the flow:

    board     one class of machines as the site shows it
    shift     the interval of a change's size
    event     what became another between two runs
    data      the JSON that the graphs are drawn from
    spark     a series at a glance
    alert     the changes, those first that nobody has decided about
    feed      the same as Atom
    graph     a series as PNG and SVG
    site      all of it, in a folder
"""

from harness.site.site import write_site

__all__ = ["write_site"]
