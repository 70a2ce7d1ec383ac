"""One class of machines as the site shows it: what was measured there, and how it is laid out."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from harness.history import Change, History, Key, MachineClass, Record, Series
from harness.history.series import Line, lines
from harness.report.figures.figure import Axis
from harness.report.figures.style import LIGHT
from harness.report.history import ORDER

# how the figures themselves are shown, by metric
AXES = {
    "throughput": Axis("value", "answers per second", "/s"),
    "p50": Axis("value", "median latency", "s"),
    "p90": Axis("value", "p90 latency", "s"),
    "p99": Axis("value", "p99 latency", "s"),
    "max": Axis("value", "greatest latency", "s"),
    "cpu": Axis("value", "CPU per 1,000 requests", "s"),
    "memory": Axis("value", "memory (PSS)", "bytes"),
}


@dataclass(frozen=True)
class Entry:
    """One judged series in its topic.

    `name` is the contender's, as short as tells it from the others of its machine; `slug` that
    of its files; `absolute` the same contender as measured, in every run that it was part of.
    """

    series: Series
    name: str
    slug: str
    absolute: Line

    @property
    def id(self) -> str:
        """The series' id, which is its own in a history."""
        return self.series.key.id

    @property
    def axis(self) -> Axis:
        """What its values are."""
        key = self.series.key
        figure = AXES[key.metric]
        if not key.reference:
            return figure
        return Axis(figure.column, f"{figure.title}, ratio to {key.reference}")

    @property
    def hue(self) -> int:
        """The place of its colour among those of a theme: by its name alone."""
        return zlib.crc32(self.name.encode()) % len(LIGHT.hues)

    @property
    def newest(self) -> Change | None:
        """The last change."""
        return self.series.changes[-1] if self.series.changes else None


@dataclass(frozen=True)
class Topic:
    """Series that can be laid over each other: one metric of one scenario under one load."""

    id: str
    scenario: str
    load: str
    metric: str
    entries: tuple[Entry, ...]

    def merit(self, entry: Entry) -> float | None:
        """What an entry is sorted by: its newest ratio, which for the reference is 1.

        Figures, where all of the topic are such; None where there is no value to compare.
        """
        if not entry.series.valued:
            return None
        references = {it.series.key.reference for it in self.entries} - {""}
        if entry.series.key.reference or not references:
            return entry.series.valued[-1].value
        return 1.0 if entry.series.key.server in references else None


class Board:
    """All that the site shows of a class of machines; `reference` as in `history.series`."""

    def __init__(self, history: History, machine: MachineClass, reference: str | None) -> None:
        self.machine = machine
        self.runs: list[Record] = history.runs(machine.id)
        self._series = history.series(machine.id, reference)
        # as measured: without a judgement, because the machine's own drift moves these as well
        self._absolute = {it.key: it for it in lines(history.records, machine.id, "")}

    @cached_property
    def topics(self) -> tuple[Topic, ...]:
        """In the order in which they were first measured."""
        names = _names({_contender(each.key): each.key for each in self._series}.values())
        found: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
        for each in self._series:
            key = each.key
            name = names[_contender(key)]
            entry = Entry(
                each, name, _slug(name, key.scenario, key.metric, key.id),
                self._absolute[replace(key, reference="")],
            )  # fmt: skip
            found[key.scenario, key.load, key.metric].append(entry)
        return tuple(
            Topic(self._topic(entries[0].series.key), *told, tuple(entries))
            for told, entries in found.items()
            if any(entry.series.valued for entry in entries)
        )

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Scenarios with their loads."""
        return list(dict.fromkeys((it.scenario, it.load) for it in self.topics))

    @property
    def metrics(self) -> list[str]:
        """The metrics that have a value, in the order of AXES."""
        known = {it.metric for it in self.topics}
        return [metric for metric in AXES if metric in known]

    @property
    def rows(self) -> list[tuple[str, dict[tuple[str, str], list[tuple[Topic, Entry]]]]]:
        """Of each contender its series by column; those to be looked at first come first."""
        rows: dict[str, dict[tuple[str, str], list[tuple[Topic, Entry]]]] = {}
        for topic in self.topics:
            for entry in topic.entries:
                row = rows.setdefault(entry.name, defaultdict(list))
                row[topic.scenario, topic.load].append((topic, entry))
        return sorted(rows.items(), key=lambda it: _urgency(it[1]))

    @property
    def entries(self) -> list[tuple[Topic, Entry]]:
        """Every series with its topic."""
        return [(topic, entry) for topic in self.topics for entry in topic.entries]

    def _topic(self, key: Key) -> str:
        exact = (key.model, key.users, key.rate_per_s, key.arrivals, key.scenario, key.metric)
        digest = hashlib.sha256(json.dumps(exact).encode()).hexdigest()[:6]
        return _slug(self.machine.id, key.scenario, key.metric, digest)


def _urgency(row: Mapping[tuple[str, str], Iterable[tuple[Topic, Entry]]]) -> int:
    return min(ORDER.index(it.series.state) for several in row.values() for _, it in several)


def _contender(key: Key) -> tuple[str, str, int, int | None]:
    return key.server, key.app, key.workers, key.threads


def _names(keys: Iterable[Key]) -> dict[tuple[str, str, int, int | None], str]:
    """A name for each contender: its server's, and what else is needed to tell it from others."""
    several: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        several[key.server].append(key)
    names = {}
    for server, own in several.items():
        for key in own:
            parts = [server]
            if len({it.app for it in own}) > 1:
                parts.append(key.app)
            if len({(it.workers, it.threads) for it in own}) > 1:
                parts.append(f"{key.workers}w" + (f" {key.threads}t" if key.threads else ""))
            names[_contender(key)] = " · ".join(parts)
    return names


def _slug(*parts: str) -> str:
    """A file's name: small letters, digits and dashes; the last part makes it this one's own."""
    text = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:40] for part in parts)
    return text.strip("-")
