"""The follower processes: started together, asked for their reports, ended in every case."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from types import TracebackType

from amzmq.cli.demo.verdict import Report

END_TIMEOUT = 2.0
"""Seconds that a follower has to exit on its own when the demo is broken off."""


class Followers:
    """N processes that follow one source.

    Args:
        addr: The source's address.
        count: How many.

    Attributes:
        names: Of the followers, in order.
        one_ended: Set when a follower has exited.

    >>> async def run(addr: str) -> None:
    ...     async with Followers(addr, 3) as followers:
    ...         print(await followers.reports(timeout=10))
    """

    def __init__(self, addr: str, count: int) -> None:
        self.names = [f"f{number:02}" for number in range(1, count + 1)]
        self.one_ended = asyncio.Event()
        self._addr = addr
        self._processes: dict[str, Process] = {}
        self._outputs: dict[str, asyncio.Task[bytes]] = {}

    @property
    def running(self) -> int:
        """How many have not exited."""
        return sum(process.returncode is None for process in self._processes.values())

    async def __aenter__(self) -> Followers:
        try:
            for name in self.names:
                await self._start(name)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def reports(self, timeout: float) -> dict[str, Report | None]:
        """Ask all for their reports; they exit.

        Args:
            timeout: Seconds for all of them.

        Returns:
            What each said; None for one that said nothing that can be read.
        """
        self._close_inputs()
        if self._outputs:
            await asyncio.wait(self._outputs.values(), timeout=timeout)
        return {name: self._report(name) for name in self.names}

    async def _start(self, name: str) -> None:
        # In a group of its own, Ctrl-C does not reach it: the source ends it, by its input.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "amzmq.cli.demo.follower", self._addr, name),
            stdin=PIPE,
            stdout=PIPE,
            process_group=0,
        )
        self._processes[name] = process
        self._outputs[name] = asyncio.create_task(self._output(process), name=f"follower {name}")

    async def _output(self, process: Process) -> bytes:
        """All that a process prints, until it has exited."""
        assert process.stdout is not None
        output = await process.stdout.read()
        await process.wait()
        self.one_ended.set()
        return output

    def _report(self, name: str) -> Report | None:
        task = self._outputs.get(name)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        try:
            return Report.from_json(task.result())
        except (ValueError, TypeError, KeyError):
            return None

    def _close_inputs(self) -> None:
        for process in self._processes.values():
            if process.stdin is not None:
                process.stdin.close()

    async def _end(self) -> None:
        """Ask all to exit, kill those that do not, and reap every one."""
        self._close_inputs()
        if not self._outputs:
            return
        try:
            _, left = await asyncio.wait(self._outputs.values(), timeout=END_TIMEOUT)
        finally:
            for process in self._processes.values():
                if process.returncode is None:
                    process.kill()
        if left:
            await asyncio.wait(left, timeout=END_TIMEOUT)
