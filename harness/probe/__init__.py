"""What each server can really do, found out by trying it.

`table` has every probe, `conductor` puts them to a server, `subject` is what each is given.
`witness` has apps that are served, and are not imported here.
"""

from harness.probe.conductor import Finding, Findings, conduct, survey
from harness.probe.document import document
from harness.probe.table import PROBES, Probe, select

__all__ = [
    "PROBES", "Finding", "Findings", "Probe", "conduct", "document", "select", "survey",
]  # fmt: skip
