"""One run of an application: from the start of its process to the end of all it left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from amzmq.cli.waits import first_of
from amzmq.machine import Machine
from amzmq.sidecar.config import ExecConfig, Stdin
from amzmq.sidecar.host import Host
from amzmq.sidecar.output import Line, LineSplitter, Outlet, Tap
from amzmq.sidecar.probes import look
from amzmq.sidecar.processes import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    Child,
    Launch,
    end,
    end_leftovers,
    kill,
)

_log = logging.getLogger("amzmq.sidecar.exec")

OUTPUT_WAIT = 0.5
"""Seconds for the rest of the output, should somebody else still hold the other end of it."""

_RUN = "AMZMQ_RUN"


@dataclass(slots=True)
class RunCounters:
    """What happened to an application so far; only ever grows.

    Attributes:
        starts: Processes started.
        failures: Runs that ended as they should not, and starts that failed.
        lines: Lines printed.
        cut_lines: Parts of lines that were too long.
        output_bytes: Bytes printed.
        leftovers: Processes that runs left behind.
        unhealthy: Times it became Unhealthy.
    """

    starts: int = 0
    failures: int = 0
    lines: int = 0
    cut_lines: int = 0
    output_bytes: int = 0
    leftovers: int = 0
    unhealthy: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        status: Exit status, as a shell counts: 128 and the signal that killed it.
        ran_s: Seconds it ran.
        is_failure: Whether it ended as it should not.
        wants_restart: Whether it was ended to be started again.
    """

    status: int
    ran_s: float = 0.0
    is_failure: bool = True
    wants_restart: bool = False


class Owner(Protocol):
    """Who starts a run, and is told of it."""

    @property
    def mach(self) -> Machine:
        """The application's machine."""

    @property
    def counters(self) -> RunCounters:
        """What happened so far."""

    @property
    def addr(self) -> str:
        """Where the application's machine is served."""

    @property
    def closing(self) -> asyncio.Event:
        """Set when the application has to end for good."""

    @property
    def stop_signal(self) -> int:
        """What asks it to end."""

    @property
    def grace(self) -> float:
        """Seconds it may take for that."""

    @property
    def is_asked(self) -> bool:
        """Whether its end was asked for."""

    def not_started(self, status: int, why: str) -> None:
        """There is no process."""

    def running(self, pid: int) -> None:
        """Its process is there."""

    def tell(self, state: str, why: str = "") -> None:
        """A fact about it."""

    def send(self, payload: str, data: Mapping[str, object]) -> None:
        """Data for its followers."""


class Attempt:
    """One run of an application.

    Args:
        name: The job's.
        config: What it was told.
        host: What the daemon lends.
        owner: Who is told.
    """

    def __init__(self, name: str, config: ExecConfig, host: Host, owner: Owner) -> None:
        self._name = name
        self._config = config
        self._host = host
        self._owner = owner
        self._child: Child | None = None
        self._mark = secrets.token_hex(8)
        self._line_seen = asyncio.Event()
        self._verdict = ""
        self._is_to_restart = False
        pattern = config.ready.line if config.ready is not None else ""
        self._pattern = re.compile(pattern) if pattern else None

    def signal(self, number: int) -> None:
        """Send a signal to the application and its group."""
        if self._child is not None:
            self._child.signal(number)

    async def run(self) -> Ending:
        """Start it and stay with it to its end."""
        try:
            child = self._child = self._host.children.start(self._launch())
        except OSError as error:
            return self._not_started(error)
        began = time.monotonic()
        taps = [self._tap(child, "stdout"), self._tap(child, "stderr")]
        self._owner.running(child.pid)
        try:
            await self._until_it_ends(child)
        finally:
            await kill(child)
            await self._clear_up(child)
            for tap in taps:
                await tap.drained()
        return self._ending(child, time.monotonic() - began)

    def _launch(self) -> Launch:
        config = self._config
        told = {"AMZMQ_JOB": self._name, "AMZMQ_ADDR": self._owner.addr, _RUN: self._mark}
        env = {**os.environ, **self._host.environment, **config.env, **told}
        inherits = config.stdin is Stdin.INHERIT
        return Launch(config.command, config.cwd, env, inherits, self._owner.stop_signal)

    def _not_started(self, error: OSError) -> Ending:
        why = f"{self._config.command[0]}: {error.strerror}"
        if error.filename is not None and error.filename == self._config.cwd:
            why = f"cwd {error.filename}: {error.strerror}"
        _log.error("[%s] cannot be started: %s", self._name, why)
        status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        self._owner.not_started(status, why)
        return Ending(status)

    async def _until_it_ends(self, child: Child) -> None:
        """Until it has, by itself or because it was asked to."""
        owner = self._owner
        await first_of(
            child.has_ended(),
            owner.closing.wait(),
            owner.mach.when("Stopping"),
            owner.mach.when("Restarting"),
            self._watch(),
        )
        if not child.ended.done():
            owner.tell("Stopping", self._verdict)
            await end(child, owner.stop_signal, owner.grace)

    async def _clear_up(self, child: Child) -> None:
        owner = self._owner
        mark = f"{_RUN}={self._mark}"
        grace = owner.grace
        owner.counters.leftovers += await end_leftovers(child.pid, mark, owner.stop_signal, grace)

    def _ending(self, child: Child, ran_s: float) -> Ending:
        status = child.ended.result()
        # To end by the signal that asks for it is no failure.
        is_failure = bool(self._verdict) or (bool(status) and not self._owner.is_asked)
        self._owner.counters.failures += is_failure
        log = _log.warning if is_failure else _log.info
        log("[%s] ended with status %d after %.1f s", self._name, status, ran_s)
        self._owner.send("process", {"event": "ended", "status": status, "pid": child.pid})
        return Ending(status, ran_s, is_failure, self._is_to_restart)

    # Readiness and health.

    async def _watch(self) -> None:
        """Tell Ready and Unhealthy; it ends only when the application has to."""
        ready = self._config.ready
        if ready is not None:
            try:
                async with asyncio.timeout(ready.start_timeout):
                    await self._first_ready()
            except TimeoutError:
                self._verdict = f"not ready within {ready.start_timeout:g} s"
                return
        self._owner.tell("Ready")
        if ready is not None and not ready.line:
            await self._until_unhealthy_for_good()
        else:
            await asyncio.Event().wait()

    async def _first_ready(self) -> None:
        ready = self._config.ready
        assert ready is not None
        if ready.line:
            await self._line_seen.wait()
            return
        while True:
            if not await look(ready):
                return
            await asyncio.sleep(ready.interval)

    async def _until_unhealthy_for_good(self) -> None:
        ready = self._config.ready
        assert ready is not None
        failures = 0
        while True:
            await asyncio.sleep(ready.interval)
            problem = await look(ready)
            failures = failures + 1 if problem else 0
            if not problem:
                self._owner.tell("Ready")
            elif failures == ready.failures:
                self._owner.counters.unhealthy += 1
                self._owner.tell("Unhealthy", problem)
                if ready.restart:
                    self._verdict = f"unhealthy: {problem}"
                    self._is_to_restart = True
                    return

    # Output.

    def _tap(self, child: Child, stream: str) -> _StreamTap:
        descriptor = child.stdout if stream == "stdout" else child.stderr
        outlet = None
        if self._config.pass_output:
            outlet = self._host.stdout if stream == "stdout" else self._host.stderr

        def told(lines: list[Line]) -> None:
            self._told(stream, lines)

        return _StreamTap(descriptor, outlet, self._config.max_line, self._count, told)

    def _count(self, size: int) -> None:
        self._owner.counters.output_bytes += size

    def _told(self, stream: str, lines: list[Line]) -> None:
        counters = self._owner.counters
        for line in lines:
            counters.lines += line.is_whole
            counters.cut_lines += not line.is_whole
            data = {"stream": stream, "line": line.text, "whole": line.is_whole}
            self._owner.send("output", data)
            if self._pattern is not None and self._pattern.search(line.text):
                self._line_seen.set()


class _StreamTap:
    """One of the two outputs: passed on as it is, and told by lines."""

    def __init__(
        self,
        descriptor: int,
        outlet: Outlet | None,
        max_line: int,
        count: Callable[[int], None],
        told: Callable[[list[Line]], None],
    ) -> None:
        self._splitter = LineSplitter(max_line)
        self._outlet = outlet
        self._count = count
        self._told = told
        self._tap = Tap(descriptor, self._take)
        if outlet is not None:
            outlet.join(self._tap)

    def _take(self, data: bytes) -> None:
        self._count(len(data))
        if self._outlet is not None:
            self._outlet.write(data)
        self._told(self._splitter.feed(data))

    async def drained(self) -> None:
        """Wait for the end of the data, but not for ever: a stranger may hold the other end."""
        while not self._tap.ended.done():
            before = self._tap.taken
            await asyncio.wait([self._tap.ended], timeout=OUTPUT_WAIT)
            if self._tap.taken == before and not self._tap.is_paused:
                self._tap.close()
        self._told(self._splitter.end())
