"""The daemon: starts the jobs, tells how they are, reloads, and ends in good order.

Its life is a machine, and what it is asked for are states of it: a signal adds Reloading or
Draining like anybody else may, and one loop obeys.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

from amzmq.cli.waits import first_of
from amzmq.errors import AmzmqError
from amzmq.machine import Machine
from amzmq.machine.event import Event
from amzmq.sidecar import logs
from amzmq.sidecar.checks import HTTP_OFF
from amzmq.sidecar.config import Config, ExecConfig, JobConfig
from amzmq.sidecar.directory import Directory
from amzmq.sidecar.host import Host
from amzmq.sidecar.http.metrics import Metrics
from amzmq.sidecar.http.server import HttpServer
from amzmq.sidecar.jobs import Job, make
from amzmq.sidecar.output import Outlet
from amzmq.sidecar.processes import Children
from amzmq.sidecar.pulse import Pulse
from amzmq.sidecar.states import DAEMON_REQUESTS, DaemonStates, Gate
from amzmq.sidecar.systemd import Notifier

_log = logging.getLogger("amzmq.sidecar")

FLUSH_WAIT = 2.0
"""Seconds that the last output of applications may take to be written."""

_HANDED_ON = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGWINCH)


class Sidecar:
    """Runs jobs until it is told to end, or until its main job has ended.

    Args:
        config: What to run.
        read_again: Gives the configuration as it is now; None if there is no file, so that
            SIGHUP is for the applications.

    Attributes:
        mach: Its life (`DaemonStates`).
        directory: The machines that it shows.
    """

    def __init__(self, config: Config, read_again: Callable[[], Config] | None = None) -> None:
        self._config = config
        self._read_again = read_again
        self._gate = Gate(DAEMON_REQUESTS)
        self.mach = Machine(DaemonStates, id=config.daemon.name, tags=["sidecar"])
        self.mach.bind(self._gate)
        self.directory = Directory(config.daemon.name)
        self._jobs: dict[str, Job] = {}
        self._notifier = Notifier(os.environ)
        self._pulse = Pulse(self._notifier)
        self._stop_signal: int | None = None
        self._announced = ""

    async def run(self) -> int:
        """Run to the end.

        Returns:
            The exit status: that of the main job if there is one, else 0.

        Raises:
            AmzmqError: It cannot start; what had started has been ended.
        """
        async with AsyncExitStack() as stack:
            host = await self._set_up(stack)
            try:
                for name, config in self._config.jobs.items():
                    await self._start_job(name, config, host)
                self._refresh()
                await self._obey(host)
            finally:
                await self._drain(host)
        return self._status

    async def _set_up(self, stack: AsyncExitStack) -> Host:
        """Everything that the jobs stand on; it goes in reverse order."""
        daemon = self._config.daemon
        host = Host(
            self.directory,
            stack.enter_context(Children()),
            stdout=Outlet(1),
            stderr=Outlet(2),
        )
        self._status = 0
        beating = asyncio.create_task(self._pulse.run(), name="sidecar.pulse")
        stack.push_async_callback(_ended, beating)
        self._take_signals(stack)
        self._tell("Start")
        stack.push_async_callback(self._dispose)
        shown = await self.directory.open(self.mach, daemon.bind, daemon.lock, daemon.limits)
        stack.push_async_callback(self.directory.withdraw, shown)
        if daemon.http != HTTP_OFF:
            metrics = Metrics(self.directory, self._jobs, self._pulse, host)
            http = HttpServer(daemon, self.directory, self.mach, metrics)
            await http.start()
            stack.push_async_callback(http.stop)
            host.environment = {"AMZMQ_HTTP": http.address}
        return host

    async def _dispose(self) -> None:
        self.mach.dispose()
        await self.mach.when_disposed()

    def _tell(self, *states: str) -> None:
        self.mach.add(*states, args=self._gate.told)

    # Signals.

    def _take_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()

        def take(number: int, callback: Callable[[int], None]) -> None:
            loop.add_signal_handler(number, callback, number)
            stack.callback(loop.remove_signal_handler, number)

        take(signal.SIGTERM, self._on_end)
        take(signal.SIGINT, self._on_end)
        take(signal.SIGHUP, self._on_hangup)
        for number in _HANDED_ON:
            take(number, self._hand_on)

    def _on_end(self, number: int) -> None:
        if self.mach.is_("Draining"):
            _log.warning("asked a second time: the applications are killed")
            self._kill()
            return
        _log.info("%s: draining", signal.Signals(number).name)
        # SIGTERM is for us: an application may be told to end in another way.
        self._stop_signal = number if number != signal.SIGTERM else None
        self._tell("Draining")

    def _on_hangup(self, number: int) -> None:
        if self._read_again is None:
            self._hand_on(number)
        else:
            self._tell("Reloading")

    def _hand_on(self, number: int) -> None:
        for job in self._jobs.values():
            job.signal(number)

    # Jobs.

    async def _start_job(self, name: str, config: JobConfig, host: Host) -> None:
        job = make(name, config, host)
        await job.start()
        self._jobs[name] = job
        job.mach.bind(_Watcher(self._refresh), id="sidecar")

    async def _stop_job(self, job: Job, number: int | None = None) -> None:
        try:
            await job.stop(number)
        except Exception as error:
            _log.exception("%s did not end as it should", job.name)
            self.mach.add_err(error)
        # Not before: while it ends it is still looked at, and can be killed.
        self._jobs.pop(job.name, None)

    def _main(self) -> Job | None:
        for job in self._jobs.values():
            if isinstance(job.config, ExecConfig) and job.config.main:
                return job
        return None

    def _refresh(self) -> None:
        """Tell how the jobs are, together."""
        if self.mach.any_("Draining", "Reloading") or self.mach.is_disposed:
            return
        jobs = self._jobs.values()
        bad = [job.name for job in jobs if _is_bad(job)]
        if bad:
            self._tell("Degraded")
            self._announce(f"degraded: {' '.join(bad)}")
        elif all(job.mach.any_("Ready", "Exited") for job in jobs):
            self._tell("Ready")
            self._announce(f"{len(self._jobs)} jobs")
        else:
            self.mach.remove("Ready", "Degraded", args=self._gate.told)

    def _announce(self, status: str) -> None:
        """Tell systemd, unless it knows."""
        if status != self._announced:
            self._announced = status
            if self.mach.is_("Ready"):
                self._notifier.ready(status)
            else:
                self._notifier.status(status)

    # The loop.

    async def _obey(self, host: Host) -> None:
        mach = self.mach
        while mach.not_("Draining"):
            await first_of(mach.when("Draining"), mach.when("Reloading"), self._main_ended())
            if mach.is_("Reloading"):
                asked = mach.tick("Reloading")
                await self._reload(host)
                if mach.tick("Reloading") == asked:  # else once more
                    mach.remove("Reloading", args=self._gate.told)
                    self._refresh()
            elif (main := self._main()) is not None and mach.not_("Draining"):
                self._status = main.status
                _log.info("%s has ended with status %d: draining", main.name, self._status)
                self._tell("Draining")

    async def _main_ended(self) -> None:
        main = self._main()
        if main is None:
            await asyncio.Event().wait()
        else:
            await first_of(main.mach.when("Exited"), main.mach.when("Failed"))

    async def _reload(self, host: Host) -> None:
        """Read the configuration again, and end, start and restart the jobs that changed."""
        if self._read_again is None:
            return
        self._notifier.reloading()
        self._announced = ""
        try:
            config = self._read_again()
        except AmzmqError as error:
            _log.error("not reloaded, everything stays as it is:\n%s", error)
            self.mach.add_err(error)
            return
        if config.daemon != self._config.daemon:
            logs.configure(config.daemon)
            _log.warning("[daemon] has changed: apart from its log it needs a restart")
        gone = [job for name, job in self._jobs.items() if config.jobs.get(name) != job.config]
        for job in reversed(gone):
            _log.info("reload: ending %s", job.name)
            await self._stop_job(job)
        self._config = config
        for name in (name for name in config.jobs if name not in self._jobs):
            _log.info("reload: starting %s", name)
            try:
                await self._start_job(name, config.jobs[name], host)
            except AmzmqError as error:
                _log.error("reload: %s cannot start: %s", name, error)
                self.mach.add_err(error)
        if self._jobs.keys() == config.jobs.keys():
            self.mach.remove("Exception", args=self._gate.told)

    # The end.

    async def _drain(self, host: Host) -> None:
        """End all jobs, the last started first: each says its last and goodbye."""
        self._tell("Draining")
        self._notifier.stopping()
        main = self._main()
        killer = asyncio.get_running_loop().call_later(
            self._config.daemon.drain_timeout, self._kill
        )
        try:
            for job in reversed(list(self._jobs.values())):
                await self._stop_job(job, self._stop_signal)
        finally:
            killer.cancel()
        if main is not None:
            self._status = main.status
        await host.stdout.flush(FLUSH_WAIT)
        await host.stderr.flush(FLUSH_WAIT)

    def _kill(self) -> None:
        for job in self._jobs.values():
            job.kill()


class _Watcher:
    """Looks at all jobs whenever one has changed."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._refresh = refresh

    def AnyState(self, e: Event) -> None:
        """A job has changed."""
        self._refresh()


def _is_bad(job: Job) -> bool:
    return job.mach.is_("Failed") or (job.mach.has("Unhealthy") and job.mach.is_("Unhealthy"))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
