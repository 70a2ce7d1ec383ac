"""Server-sent events without I/O: the bytes of a text/event-stream in, events out.

The rules are those of the WHATWG's HTML standard, under "Interpreting an event stream".
"""

from __future__ import annotations

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
MAX_SIZE = 2**20
_LONGEST_RETRY = 18  # digits: longer ones are no time, and Python refuses to read thousands


class Event(NamedTuple):
    """One event: the last id that the stream has named, the event's type, and its data."""

    id: str
    event: str
    data: str


class StreamError(ValueError):
    """The stream holds what nobody should have to hold."""

    kind = "protocol"


class Parser:
    r"""The events of one stream, which begins with the answer's body and ends with it.

    `last_id` is what a client that connects again sends as Last-Event-ID, `retry_ms` how long
    the server asked it to wait before that (None: it has not).

    Lines are told apart as bytes: in UTF-8 no byte of a longer character looks like CR, LF or a
    colon, so a line may be decoded on its own, and bytes that are no UTF-8 become U+FFFD in
    the same places as if the whole stream were decoded. By the standard every stream of bytes
    has a meaning; the one error is an event of more than `max_size` bytes, StreamError.
    """

    __slots__ = (
        "_at_start",
        "_begun",
        "_data",
        "_event",
        "_held",
        "_id",
        "_max_size",
        "_pieces",
        "_skip_lf",
        "last_id",
        "retry_ms",
    )

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        self._max_size = max_size
        self._held = 0  # bytes of the event that is not complete, in whole lines
        self._begun = 0  # and in the line after them
        self.last_id = ""
        self.retry_ms: int | None = None
        self._at_start = True  # a byte order mark may still come
        self._skip_lf = False  # the last byte was a CR, whose LF would end no second line
        self._pieces: list[bytes] = []  # of a line whose end has not come
        self._id = ""  # becomes last_id with the blank line
        self._event = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. An event is complete with its blank line.

        What has no blank line when the stream ends is discarded, by dropping the parser.
        """
        if self._at_start:
            data = self._without_bom(data)
        if self._skip_lf and data:
            self._skip_lf = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\r" in data:
            self._skip_lf = data[-1] == 0x0D
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        if self._pieces and len(lines) > 1:
            # joined once per line: a long one may come in many reads
            lines[0] = b"".join([*self._pieces, lines[0]])
            self._pieces.clear()
        if lines[1:]:
            self._begun = 0
        if last := lines.pop():
            self._pieces.append(last)
            self._begun += len(last)
        events = self._take(lines)
        if self._held + self._begun > self._max_size:
            raise StreamError(f"an event of more than {self._max_size} bytes")
        return events

    def _take(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            self._held += len(line)
            if not line:
                self._held = 0
                self.last_id = self._id
                if self._data:
                    kind = str(self._event, "utf-8", "replace") if self._event else "message"
                    text = str(b"\n".join(self._data), "utf-8", "replace")
                    events.append(Event(self._id, kind, text))
                    self._data.clear()
                self._event = b""
                continue
            name, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if name == b"data":
                self._data.append(value)
            elif name == b"event":
                self._event = value
            elif name == b"id":
                if b"\0" not in value:
                    self._id = str(value, "utf-8", "replace")
            elif name == b"retry" and value.isdigit() and len(value) <= _LONGEST_RETRY:
                self.retry_ms = int(value)
            # what has another name is ignored, and so is a comment, whose name is empty
        return events

    def _without_bom(self, data: bytes) -> bytes:
        data = b"".join([*self._pieces, data])
        self._pieces.clear()
        if _BOM.startswith(data):  # all of it too: no event can be complete yet
            self._pieces.append(data)
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)
