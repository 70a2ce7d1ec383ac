"""Changes as an Atom feed (RFC 4287): entries keep their ids, and times come from the data."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime

from harness import __version__
from harness.history import MachineClass
from harness.model import visible
from harness.site.alert import Alert

NAMESPACE = "http://www.w3.org/2005/Atom"
MOST = 100  # entries, the newest
EPOCH = "1970-01-01T00:00:00+00:00"


def feed(told: Sequence[tuple[MachineClass, Alert]], url: str, begun: str) -> str:
    """The feed of these alerts, as XML.

    `url` is where the site is, ending in a slash, empty if that is not known: then links are
    relative to the feed. `begun` is when the history begins, which makes the feed's id. A change
    that more runs may yet move is told once it stands or is settled: its id may go with it.
    """
    lasting = [it for it in told if it[1].change.settled or it[1].change.stands]
    several = sorted(lasting, key=lambda it: (_updated(it[1]), it[1].change.id), reverse=True)
    root = ET.Element("feed", xmlns=NAMESPACE)
    _text(root, "id", _id(f"history {begun}"))
    _text(root, "title", "gatebench: changes")
    _text(root, "updated", _updated(several[0][1]) if several else _time(begun or EPOCH))
    _text(root, "generator", "gatebench").set("version", __version__)
    _text(ET.SubElement(root, "author"), "name", "gatebench")
    ET.SubElement(root, "link", rel="alternate", type="text/html", href=f"{url}index.html")
    ET.SubElement(root, "link", rel="self", type="application/atom+xml", href=f"{url}alerts.xml")
    for machine, alert in several[:MOST]:
        _entry(root, machine, alert, url)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _entry(root: ET.Element, machine: MachineClass, alert: Alert, url: str) -> None:
    change, topic = alert.change, alert.topic
    entry = ET.SubElement(root, "entry")
    _text(entry, "id", _id(f"change {change.id} {change.series}"))
    what = f"{alert.entry.name}, {topic.scenario} ({topic.load}), {topic.metric}"
    _text(entry, "title", f"{change.kind}: {what}: {change.ratio - 1:+.1%}")
    _text(entry, "published", _time(change.at))
    _text(entry, "updated", _updated(alert))
    ET.SubElement(entry, "category", term=str(change.kind))
    ET.SubElement(entry, "link", rel="alternate", type="text/html",
                  href=f"{url}index.html#series={alert.entry.id}")  # fmt: skip
    _text(entry, "content", f"{change.text}; {alert.triage}; on {machine.text}").set("type", "text")


def _updated(alert: Alert) -> str:
    """When it was measured, or last decided about."""
    decision = alert.change.decision
    return max(_time(alert.change.at), _time(decision.when) if decision else "")


def _time(moment: str) -> str:
    """RFC 3339 in UTC, to the second."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _id(of: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"gatebench {of}").urn


def _text(parent: ET.Element, name: str, text: str) -> ET.Element:
    made = ET.SubElement(parent, name)
    made.text = visible(text)
    return made
