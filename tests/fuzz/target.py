"""What can be fuzzed: a name, how to make the function that takes an input, and where to begin."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Play = Callable[[bytes], None]
"""Takes one input. It returns, or the input is a finding."""


@dataclass(frozen=True)
class Target:
    """One entrance.

    Attributes:
        name: Of its folders under `corpus` and `findings`.
        make: Makes what takes its inputs.
        seeds: Inputs to begin with, from real messages.
        is_packed: Whether an input is msgpack, so that it may be changed by its structure.
        prefix: Bytes before the msgpack.
        max_size: Bytes of an input at most.
    """

    name: str
    make: Callable[[Traces], Play]
    seeds: Callable[[], list[bytes]]
    is_packed: bool = True
    prefix: int = 0
    max_size: int = 512


class Finding(AssertionError):
    """An input did what none may do.

    Args:
        what: What it did.
        story: All inputs that led to it, as one, where that is known.
    """

    def __init__(self, what: str, story: bytes | None = None) -> None:
        super().__init__(what)
        if story is not None:
            self.story = story


class Traces(logging.Handler):
    """Takes down the tracebacks that are logged: none may be."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._logged: list[str] = []
        self._format = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._logged.append(self._format.format(record))

    def check(self) -> None:
        """Raises the first traceback since the last time."""
        logged, self._logged = self._logged, []
        if logged:
            raise Finding(logged[0])


@contextlib.contextmanager
def watched_log() -> Iterator[Traces]:
    """Nothing is shown of what the library logs, and its tracebacks are kept."""
    log = logging.getLogger("amzmq")
    traces = Traces()
    propagates, log.propagate = log.propagate, False
    log.addHandler(traces)
    try:
        yield traces
    finally:
        log.removeHandler(traces)
        log.propagate = propagates
