"""Exceptions of threads and tasks that are no handlers, as errors of a machine (spec machine 7)."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from amzmq.machine.args import Args

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine


class ErrorGuard:
    """Turns an exception of a ``with`` block into an error of a machine (spec machine 7)."""

    __slots__ = ("_args", "_machine", "_state")

    def __init__(self, machine: Machine, state: str, args: Args | None) -> None:
        self._machine = machine
        self._state = state
        self._args = args

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        machine = self._machine
        if not isinstance(error, Exception) or not machine.panic_to_exception:
            return False
        machine.add_err_state(self._state, error, args=self._args)
        return True
