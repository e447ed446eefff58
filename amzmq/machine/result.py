"""What a mutation returns (spec machine 3.2)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar


class Result(int):
    """The outcome of a mutation: executed, canceled, or queued with its queue tick.

    An integer as on the wire: 0 executed, 1 canceled, 2 and more the queue tick on which a
    queued mutation will run (pass it to `when_queue`). It is awaitable, so that
    ``await m.add("Open")`` reads the same for a local machine and a remote one.

    >>> Result.queued(7).is_queued, str(Result.EXECUTED)
    (True, 'executed')
    """

    EXECUTED: ClassVar[Result]
    CANCELED: ClassVar[Result]
    QUEUED: ClassVar[Result]

    def __new__(cls, value: int) -> Result:
        """The one EXECUTED, the one CANCELED, or a queued result: `is` works on the first two."""
        if value in (0, 1) and (known := _outcomes.get(value)) is not None:
            return known
        return super().__new__(cls, value)

    @classmethod
    def queued(cls, tick: int) -> Result:
        """A queued result that carries the mutation's queue tick (2 and more)."""
        return cls(tick)

    @property
    def is_queued(self) -> bool:
        """Whether the mutation waits in the queue."""
        return self > 1

    def __await__(self) -> Generator[Any, None, Result]:
        yield from ()  # awaiting a known outcome never suspends
        return self

    def __str__(self) -> str:
        return ("executed", "canceled")[self] if self < 2 else "queued"

    def __repr__(self) -> str:
        return f"Result.queued({int(self)})" if self > 1 else f"Result.{str(self).upper()}"


_outcomes: dict[int, Result] = {}
for _value in (0, 1):
    _outcomes[_value] = Result(_value)
Result.EXECUTED = _outcomes[0]
Result.CANCELED = _outcomes[1]
Result.QUEUED = Result(2)
