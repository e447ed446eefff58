"""The last messages of a stream, to answer those who missed some (design decision 7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from amzmq.errors import InvalidArgs


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """How much a journal keeps; the first limit reached counts.

    Attributes:
        messages: Numbered messages.
        size_bytes: Their bytes together.

    Raises:
        InvalidArgs: One of them is no whole number of 0 or more.
    """

    # A second of a stream at full speed is some 1,000 merged updates; a few seconds of
    # absence are bridged without a snapshot, for at most 16 MiB a stream.
    messages: int = 16_384
    size_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        for name, value in (("messages", self.messages), ("size_bytes", self.size_bytes)):
            if type(value) is not int or value < 0:
                text = f"JournalLimits: {name}={value!r}; a whole number from 0 expected"
                raise InvalidArgs(text)


class Journal:
    """A bounded ring of consecutively numbered messages."""

    __slots__ = ("_head", "_max_messages", "_max_size", "_messages", "_size")

    def __init__(self, limits: JournalLimits | None = None) -> None:
        limits = limits or JournalLimits()
        self._max_messages = limits.messages
        self._max_size = limits.size_bytes
        self._messages: deque[bytes] = deque()
        self._head = 0
        self._size = 0

    @property
    def head(self) -> int:
        """The number of the newest message; 0 before the first."""
        return self._head

    @property
    def oldest(self) -> int:
        """The number of the oldest message kept; `head` + 1 when none is."""
        return self._head - len(self._messages) + 1

    @property
    def size_bytes(self) -> int:
        """Bytes kept."""
        return self._size

    def append(self, message: bytes) -> None:
        """Keep message number `head` + 1, and forget what no longer fits."""
        messages = self._messages
        messages.append(message)
        self._head += 1
        self._size += len(message)
        if len(messages) > self._max_messages:  # as ever, once it is full
            self._size -= len(messages.popleft())
        if self._size > self._max_size:
            self._forget()

    def extend(self, messages: Sequence[bytes]) -> None:
        """`append`, of several."""
        self._messages.extend(messages)
        self._head += len(messages)
        self._size += sum(map(len, messages))
        self._forget()

    def _forget(self) -> None:
        messages = self._messages
        while self._size > self._max_size or len(messages) > self._max_messages:
            self._size -= len(messages.popleft())

    def restart(self, head: int) -> None:
        """Forget everything; the next message is number `head` + 1."""
        self._messages.clear()
        self._size = 0
        self._head = head

    def since(self, number: int) -> list[bytes] | None:
        """All messages after `number`; None when some of them are forgotten, or never were."""
        missing = self._head - number
        if missing < 0 or missing > len(self._messages):
            return None
        if missing <= 8:  # the usual case: a deque is quick at its end only
            return [self._messages[at] for at in range(-missing, 0)]
        return list(islice(self._messages, len(self._messages) - missing, None))
