"""The exec job: an application of any language, and its life as a machine."""

from __future__ import annotations

import asyncio
import logging
import signal as signals
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from amzmq.cli.waits import first_of
from amzmq.machine import Machine
from amzmq.machine.event import Event
from amzmq.sidecar.attempt import Attempt, Ending, RunCounters
from amzmq.sidecar.config import ExecConfig, Restart
from amzmq.sidecar.directory import Exposed
from amzmq.sidecar.host import Host
from amzmq.sidecar.states import APP_REQUESTS, Gate, schema_of

_log = logging.getLogger("amzmq.sidecar.exec")


class _Requests:
    """What may be asked for when, besides what the gate says; the last request counts.

    Attributes:
        is_stopped: Whether it was asked to stop, and nothing else since.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.is_stopped = False

    def StoppingEnter(self, e: Event) -> bool:
        """Only what has not ended can be asked to."""
        return self._gate.is_told(e) or e.machine.not_("Exited", "Failed")

    def StoppingState(self, e: Event) -> None:
        """Whoever asks it to stop does not want the restart that may be under way."""
        if not self._gate.is_told(e):
            self.is_stopped = True
            e.machine.remove("Restarting", args=self._gate.told)

    def RestartingState(self, e: Event) -> None:
        """Whoever asks for a restart does not want it to stay stopped."""
        self.is_stopped = False

    def StartingEnter(self, e: Event) -> bool:
        """Only what has ended can be asked to start."""
        return self._gate.is_told(e) or e.machine.any_("Exited", "Failed", "Backoff")


@dataclass(slots=True)
class _Policy:
    """Counts restarts in a row, and decides."""

    config: ExecConfig
    in_a_row: int = 0

    def restarts(self, ending: Ending) -> bool:
        """Whether an application that ended by itself is started again."""
        if ending.ran_s >= self.config.backoff.reset_after:
            self.in_a_row = 0
        wanted = self.config.restart
        limit = self.config.backoff.limit
        if limit and self.in_a_row >= limit:
            return False
        if ending.wants_restart:
            return True
        if wanted is Restart.ON_FAILURE:
            return ending.is_failure
        return wanted is Restart.ALWAYS

    def delay(self) -> float:
        """Seconds before the next start, which is counted."""
        self.in_a_row += 1
        return self.config.backoff.delay(self.in_a_row - 1)


class ExecJob:
    """Runs an application and tells its life.

    Args:
        name: Its name in the configuration.
        config: What it was told.
        host: What the daemon lends.

    Attributes:
        mach: The application's machine: its life, and states of its own.
        status: The exit status of the last run.
        counters: What happened so far.
        closing: Set when the application has to end for good.
    """

    def __init__(self, name: str, config: ExecConfig, host: Host) -> None:
        self.name = name
        self.config = config
        self.status = 0
        self.counters = RunCounters()
        self._gate = Gate(APP_REQUESTS, config.states)
        self.mach = Machine(schema_of(config.states), id=name, tags=["sidecar-app"])
        self.mach.bind(self._gate)
        self._requests = _Requests(self._gate)
        self.mach.bind(self._requests)
        self._host = host
        self._policy = _Policy(config)
        self._exposed: Exposed | None = None
        self._living: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()
        self._stop_signal = signals.Signals[config.stop_signal].value
        self._attempt: Attempt | None = None
        self._is_hurried = False

    async def start(self) -> None:
        """Serve its machine, and start it.

        Raises:
            IdTaken: Another machine of this id is shown already.
            AddressInUse: Somebody else listens at its address.
        """
        self._exposed = await self._host.directory.serve(
            self.mach, self.config.bind, self.config.lock, self.config.limits
        )
        self._living = asyncio.create_task(self._live(), name=f"sidecar.{self.name}")

    async def stop(self, signal: int | None = None) -> None:
        """End the application and what it left behind, then say goodbye to its followers."""
        if signal is not None:
            self._stop_signal = signal
        self.closing.set()
        try:
            if self._living is not None:
                await self._living
        finally:
            if self._exposed is not None:
                await self._host.directory.withdraw(self._exposed)
            self.mach.dispose()
            await self.mach.when_disposed()

    def signal(self, number: int) -> None:
        """Hand a signal on if it was told to."""
        if self._attempt is not None and signals.Signals(number).name in self.config.forward:
            self._attempt.signal(number)

    def kill(self) -> None:
        """Be quick: the application, if it still runs, is killed."""
        self._is_hurried = True
        if self._attempt is not None:
            self._attempt.signal(signals.SIGKILL)

    def metrics(self) -> Mapping[str, float]:
        """Starts, endings and output."""
        return asdict(self.counters)

    # Its life: one task, which tells every fact.

    def _tell(self, *states: str) -> None:
        self.mach.add(*states, args=self._gate.told)

    async def _live(self) -> None:
        try:
            while not self.closing.is_set():
                await self._after(await self._run_once())
        except Exception as error:
            _log.exception("[%s] the job failed", self.name)
            self.mach.add_err(error)
            self._tell("Failed")
        if self.mach.not_("Exited", "Failed"):
            self._tell("Exited")

    async def _after(self, ending: Ending) -> None:
        """What follows a run; the next one does when this returns."""
        if self._requests.is_stopped:
            await self._rest("Exited")
        elif self.closing.is_set() or self.mach.is_("Restarting"):
            return
        elif self._policy.restarts(ending):
            await self._back_off()
        elif ending.is_failure:
            await self._rest("Failed")
        else:
            await self._rest("Exited")

    async def _run_once(self) -> Ending:
        self._requests.is_stopped = False
        self._tell("Starting")
        attempt = self._attempt = Attempt(self.name, self.config, self._host, self)
        try:
            ending = await attempt.run()
        finally:
            self._attempt = None
        self.status = ending.status
        return ending

    async def _back_off(self) -> None:
        """Wait before the next start; a request to stop or to restart ends it."""
        delay = self._policy.delay()
        self._tell("Restarting", "Backoff")
        _log.info("[%s] starts again in %g s", self.name, delay)
        mach = self.mach
        waiting = (self.closing.wait(), mach.when("Stopping"), mach.when("Starting"))
        await first_of(*waiting, timeout=delay)
        if self._requests.is_stopped and not self.closing.is_set():
            await self._rest("Exited")

    async def _rest(self, ended: str) -> None:
        """It is over, unless somebody asks for another start."""
        self._tell(ended)
        self._policy.in_a_row = 0
        mach = self.mach
        await first_of(self.closing.wait(), mach.when("Starting"), mach.when("Restarting"))

    # What an attempt asks of its owner.

    @property
    def addr(self) -> str:
        """Where the application's machine is served."""
        return "" if self._exposed is None else self._exposed.addr

    @property
    def stop_signal(self) -> int:
        """What asks it to end."""
        return self._stop_signal

    @property
    def grace(self) -> float:
        """Seconds it may take for that."""
        return 0.0 if self._is_hurried else self.config.grace

    @property
    def is_asked(self) -> bool:
        """Whether its end was asked for."""
        return self.closing.is_set() or self._requests.is_stopped or self.mach.is_("Restarting")

    def not_started(self, status: int, why: str) -> None:
        """There is no process."""
        self.counters.failures += 1
        self.mach.remove("Restarting", args=self._gate.told)
        self.send("process", {"event": "not started", "status": status, "why": why})

    def running(self, pid: int) -> None:
        """Its process is there."""
        self.counters.starts += 1
        self._tell("Running")
        self.mach.remove("Restarting", args=self._gate.told)
        self.send("process", {"event": "started", "pid": pid})

    def tell(self, state: str, why: str = "") -> None:
        """A fact about the running application."""
        if self.mach.not_(state):
            if why:
                _log.warning("[%s] %s: %s", self.name, state, why)
                self.send("process", {"event": state.lower(), "why": why})
            self._tell(state)

    def send(self, payload: str, data: Mapping[str, object]) -> None:
        """Send data to the followers of the application's machine."""
        assert self._exposed is not None
        self._exposed.send_payload(payload, dict(data))
