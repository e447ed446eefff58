"""Answers that are the same for many clients: encoded once, for as long as they are right."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from amzmq.wire.codec import Value
from amzmq.wire.control import Message
from amzmq.wire.control_frames import frame_with, tail_of
from amzmq.wire.writer import StreamWriter

ANSWERS_KEPT = 16
"""Answers that are kept for one stream; clients that lost the same message want the same one."""


BYTES_KEPT = 4 * 1024 * 1024
"""Their bytes together, unless it is only one: as many as one frame may have."""


@dataclass(slots=True)
class _Kept:
    """An encoded answer, and whether it was given since the last look."""

    stamp: tuple[object, ...]
    kind: type[Message]
    tail: bytes
    is_wanted: bool = False


class Answers:
    """What was encoded lately, by stream.

    Attributes:
        encoded: How many were encoded.
    """

    def __init__(self) -> None:
        self.encoded = 0
        self._streams: WeakKeyDictionary[StreamWriter, OrderedDict[Hashable, _Kept]] = (
            WeakKeyDictionary()
        )

    def clear(self) -> None:
        """Forget all."""
        self._streams.clear()

    def forget_unwanted(self) -> None:
        """Forget what nobody was given since the last time: it may be large, and old by now."""
        for answers in self._streams.values():
            for key in [key for key, kept in answers.items() if not kept.is_wanted]:
                del answers[key]
            for kept in answers.values():
                kept.is_wanted = False

    def frame(
        self,
        stream: StreamWriter,
        key: Hashable,
        stamp: tuple[object, ...],
        first: Value,
        make: Callable[[], Message],
    ) -> bytes:
        """The frame of an answer.

        Args:
            stream: What it is about.
            key: Which answer.
            stamp: What the answer is made of: it is made anew when that is not equal any more.
            first: The answer's first field, in which it differs from client to client.
            make: Makes it.
        """
        answers = self._streams.setdefault(stream, OrderedDict())
        kept = answers.get(key)
        if kept is None or kept.stamp != stamp:
            message = make()
            kept = answers[key] = _Kept(stamp, type(message), tail_of(message))
            self.encoded += 1
            answers.move_to_end(key)
            while len(answers) > ANSWERS_KEPT or (
                len(answers) > 1 and sum(len(it.tail) for it in answers.values()) > BYTES_KEPT
            ):
                answers.popitem(last=False)
        kept.is_wanted = True
        return frame_with(kept.kind, first, kept.tail)
