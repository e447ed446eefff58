"""Running a function between two transitions (spec machine 5.9)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from amzmq.machine.mutation import NO_ARGS, Mutation
from amzmq.machine.resolver import MutationType
from amzmq.machine.wait import Wait

_WAITING, _RUNNING, _ENDED, _GIVEN_UP = range(4)


class Evaluation:
    """One call of `Machine.eval`, and whether somebody still waits for it.

    Args:
        source: Names the place of the call, for the log.
        function: What is run.
        ctx: A token; when it is done before the function starts, it is not run.
    """

    def __init__(self, source: str, function: Callable[[], None], ctx: Wait | None) -> None:
        self.source = source
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self._function = function
        self._ctx = ctx
        self._state = _WAITING
        self._guard = threading.Lock()

    def mutation(self) -> Mutation:
        """The queue's entry for it."""
        mutation = Mutation(MutationType.EVAL, (), NO_ARGS)
        mutation.evaluate = self._run
        return mutation

    @property
    def has_run(self) -> bool:
        """Whether the function was run to its end."""
        return self._state == _ENDED and self.error is None

    def give_up(self) -> bool:
        """Do not run it any more; False if it has started already."""
        with self._guard:
            if self._state != _WAITING:
                return False
            self._state = _GIVEN_UP
            return True

    @property
    def was_given_up(self) -> bool:
        """Whether it was not run, and will not be."""
        return self._state == _GIVEN_UP

    def _run(self) -> None:
        if self._ctx is not None and self._ctx.done():
            self.give_up()
        with self._guard:
            if self._state != _WAITING:
                self.ended.set()
                return
            self._state = _RUNNING
        try:
            self._function()
        except Exception as error:
            # It belongs to the caller of eval, who may be on another thread.
            self.error = error
        finally:
            self._state = _ENDED
            self.ended.set()
