"""The work of the source, as handlers of its machine.

Each step that takes time is an async handler: a task that ends with its state. So Done, added
at any moment, ends whatever is going on, and nothing has to be stopped by hand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from amzmq.cli.demo.files import FileRead, list_files, read_files
from amzmq.machine import Event

SLICE = 16
"""Files read in one go. Going to the reading thread and back, and waking every follower, costs
more than reading a usual source file; this shares it out, and the loop still turns often."""


class Pacer(Protocol):
    """Who knows how far the followers are."""

    def outrun(self) -> bool:
        """Whether a follower is too far behind to go on."""

    async def caught_up(self) -> None:
        """Wait until none is; TimeoutError when that takes too long."""


class Walk:
    """Handlers of `WalkStates`.

    Args:
        root: The directory.
        skip: Names of folders that are left out.
        once: Whether one round is enough; otherwise they go on until Done is added.
        publish: Tells the followers of a file.
        pacer: Keeps the followers from being outrun.

    Attributes:
        listed: Files of this round.
        left: Those of them that are not read yet.
        failure: An error that is none of the input's; None as it should be.
    """

    def __init__(
        self,
        root: Path,
        skip: Collection[str],
        once: bool,
        publish: Callable[[FileRead, Event], None],
        pacer: Pacer,
    ) -> None:
        self.listed = 0
        self.left: deque[str] = deque()
        self.failure: BaseException | None = None
        self._root = root
        self._skip = skip
        self._once = once
        self._publish = publish
        self._pacer = pacer

    async def WalkingState(self, e: Event) -> None:
        """A round begins: list the directory."""
        paths, errors = await asyncio.to_thread(list_files, self._root, self._skip)
        for error in errors:
            e.machine.add_err_state("ErrRead", error, event=e)
        self.listed = len(paths)
        self.left = deque(paths)
        # Rounds over nothing would be a busy loop.
        e.machine.add("Hashing" if paths else "Done", event=e)

    async def HashingState(self, e: Event) -> None:
        """Read and hash, one file after the other, as far as the followers keep up."""
        machine = e.machine
        while self.left:
            if self._pacer.outrun():
                machine.add("Waiting", event=e)
                return
            some = [self.left.popleft() for _ in range(min(SLICE, len(self.left)))]
            for file in await asyncio.to_thread(read_files, self._root, some):
                if isinstance(file, OSError):
                    machine.add_err_state("ErrRead", file, event=e)
                else:
                    machine.add("FileDone", event=e, file=file)
        machine.add("RoundDone", event=e)

    async def WaitingState(self, e: Event) -> None:
        """Rest until the slowest follower has caught up."""
        try:
            await self._pacer.caught_up()
        except TimeoutError as error:
            e.machine.add_err_state("ErrStalled", error, event=e)
            e.machine.add("Done", event=e)
        else:
            e.machine.add("Hashing", event=e)

    def FileDoneState(self, e: Event) -> None:
        """A file is hashed: tell of it, behind the tick that counts it."""
        file = e.args["file"]
        assert isinstance(file, FileRead)
        self._publish(file, e)

    def RoundDoneState(self, e: Event) -> None:
        """The next round, or the end."""
        e.machine.add("Done" if self._once else "Walking", event=e)

    def ExceptionState(self, e: Event) -> None:
        """Errors are transient: what could not be read is counted by ErrRead's tick."""
        if e.machine.not_("ErrRead", "ErrStalled"):
            self.failure = e.error or RuntimeError("Exception without an error")
            e.machine.add("Done", event=e)
        e.machine.remove("Exception", event=e)
