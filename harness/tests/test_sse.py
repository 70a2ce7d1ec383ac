"""The parser of server-sent events against one that reads the whole text, as the standard does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.tests.test_frames import load

if TYPE_CHECKING:
    from harness.load import sse
else:
    sse = load("sse")

Found = tuple[list[tuple[str, str, str]], str, int | None]


def naive(stream: bytes) -> Found:
    """Events, last id and retry time, by the letter of the standard and for a whole stream."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _ = re.split("\r\n|\r|\n", text)  # what has no line's end is no line
    events = []
    data = kind = last_id = id_buffer = ""
    retry = None
    for line in lines:
        if line == "":
            last_id = id_buffer
            if data:
                events.append((last_id, kind or "message", data[:-1]))
            data = kind = ""
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return events, last_id, retry


def parse(chunks: Sequence[bytes]) -> Found:
    parser = sse.Parser()
    events = [(e.id, e.event, e.data) for chunk in chunks for e in parser.feed(chunk)]
    return events, parser.last_id, parser.retry_ms


LINES = st.one_of(
    st.tuples(
        st.sampled_from(
            [b"data", b"data:", b"data: ", b"data:  ", b"event:", b"event: ", b"id", b"id:",
             b"id: ", b"retry: ", b":", b": ", b" data: ", b"Data:", b"data :", b"dat", b"data\0:",
             b"\xef\xbb\xbfdata:"]
        ),
        st.sampled_from(
            [b"", b"1", b"0042", b"-1", "١".encode(), b"a:b", b": c", b"\0", "é".encode(),
             "€😀".encode(), b"\xef\xbb\xbf", b"\xe2\x82", b"\xff", b"\xf0\x9f\x98", b"\t"]
        ),
    ).map(b"".join),
    st.just(b""),
)  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b"\r\n\n"])
STREAMS = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb", b"\xef"]),
    st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=12).map(b"".join),
    st.one_of(st.just(b""), LINES),
).map(b"".join)


@given(STREAMS | st.binary(max_size=30), st.lists(st.integers(0, 200), max_size=10))
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", [8, 9, 10])
@example(b"\xef\xbb\xbfdata: x\n\n", [1, 2])
@example(b"data: x\n\n\xef\xbb\xbfdata: y\n\n", [9])
@example(b"\xef\xbbdata: x\n\ndata: y\n\n", [1, 2])
@settings(deadline=None, max_examples=300)
def test_split_anywhere(stream, cuts):
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    whole = naive(stream)
    assert parse([stream]) == whole
    assert parse([stream[start:end] for start, end in pairwise(places)]) == whole
    assert parse([stream[at : at + 1] for at in range(len(stream))]) == whole
    assert (
        parse([piece for at in range(len(stream)) for piece in (stream[at : at + 1], b"")]) == whole
    )


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        # the standard's own examples
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("", "message", "YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\n"
            b"data:second event\nid\n\ndata:  third event\n\n",
            [("1", "message", "first event"), ("", "message", "second event"),
             ("", "message", " third event")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("", "message", ""), ("", "message", "\n")]),
        (b"data:test\n\ndata: test\n\n", [("", "message", "test")] * 2),
        # and what a load scenario sends
        (b"id: 7\nevent: tick\ndata: 7 99\n\n", [("7", "tick", "7 99")]),
        (b"id: 7\n\ndata: a\n\n", [("7", "message", "a")]),  # an id stays, also without an event
        (b"event: tick\n\ndata: a\n\n", [("", "message", "a")]),  # a type does not
        (b"data: a\nid: 1\0\n\n", [("", "message", "a")]),
        (b"data: a\n", []),
        (b"data: a\r\r", [("", "message", "a")]),
    ],
)  # fmt: skip
def test_examples(stream, events):
    assert [tuple(event) for event in sse.Parser().feed(stream)] == events


def test_an_event_is_given_out_with_its_blank_line_and_not_with_the_next_byte():
    """A CR ends the line at once: an LF after it may come much later, or never."""
    parser = sse.Parser()
    assert not parser.feed(b"data: a\r")
    assert parser.feed(b"\r") == [("", "message", "a")]
    assert not parser.feed(b"\n")
    assert parser.feed(b"data: b\n\n") == [("", "message", "b")]


def test_last_id_changes_with_the_blank_line():
    parser = sse.Parser()
    parser.feed(b"id: 5\n")
    assert parser.last_id == ""
    parser.feed(b"\n")
    assert parser.last_id == "5"


def test_retry_that_is_no_time():
    parser = sse.Parser()
    parser.feed(b"retry: 1500\nretry: 15s\nretry:\nretry: " + b"9" * 5000 + b"\n")
    assert parser.retry_ms == 1500


def test_long_line_in_many_reads():
    data = b"data: " + b"x" * 300_000 + b"\n\n"
    [event] = parse([data[at : at + 1000] for at in range(0, len(data), 1000)])[0]
    assert event[2] == "x" * 300_000


@pytest.mark.parametrize("pieces", [1, 7, 4096])
def test_event_that_never_ends_is_refused(pieces):
    parser = sse.Parser(max_size=1000)
    stream = b"data: " + b"x" * 900 + b"\n\n"
    for at in range(0, len(stream), pieces):
        parser.feed(stream[at : at + pieces])
    assert parser.feed(b"\ndata: 1\n\n") == [("", "message", "1")]

    def feed_all(data: bytes) -> None:
        for at in range(0, len(data), pieces):
            parser.feed(data[at : at + pieces])

    with pytest.raises(sse.StreamError, match="more than 1000 bytes"):
        feed_all(b"data: y\n" * 200)
