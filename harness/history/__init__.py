"""Many runs over time: kept in small files, drawn as series, and watched for changes.

Its files, in the order of the flow:

    record        a run, as the few numbers that series are made of
    archive       records and decisions as files that merge
    machine       which runs may stand in one series
    subject       what was measured, and under which conditions
    series        the ratio to a server measured beside it, run by run
    release       what the versions of a server in one run say of each other
    segmentation  where a series changed
    change        what the changes are, and the state of a series
    history       all of it
"""

from harness.history.archive import Archive, Choice, Decision
from harness.history.change import Change, Segment, Series, State
from harness.history.history import History
from harness.history.machine import MachineClass
from harness.history.record import CellRecord, Record, record_of
from harness.history.release import Lineage, Release, Step, placebos
from harness.history.segmentation import FEWEST, segment
from harness.history.series import Key, Point
from harness.history.subject import PackageChange, Subject

__all__ = [
    "FEWEST", "Archive", "CellRecord", "Change", "Choice", "Decision", "History", "Key",
    "Lineage", "MachineClass", "PackageChange", "Point", "Record", "Release", "Segment", "Series",
    "State", "Step", "Subject", "placebos", "record_of", "segment",
]  # fmt: skip
