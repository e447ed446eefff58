"""What a sidecar costs while nothing happens, and how long its death under load is felt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.brokers import cpu_ns
from bench.fanout import CONNECT_S
from bench.report import BenchError, Figure, Report, in_turn, summarize
from bench.workers import ROOT, Worker, check_equal

NAME = "sidecar"
RUNS = 5
SYSTEM = "amzmq"
END_S = 10.0
RECOVER_S = 60.0
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Scale:
    """How much the daemon has to do.

    Attributes:
        machines: So many upstream machines, all relayed.
        followers: So many local followers, each of one machine.
        window_s: Seconds of rest that are looked at.
        changes_per_s: At the source, where the daemon is killed.
    """

    machines: int
    followers: int
    window_s: float
    changes_per_s: float


FULL = Scale(20, 200, 30.0, 500.0)
QUICK = Scale(2, 3, 0.2, 50.0)


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure rest and death in turn."""
    scale = QUICK if quick else FULL
    return summarize(NAME, in_turn([partial(rest, scale), partial(death, scale)], runs))


def rest(scale: Scale) -> Mapping[Figure, float]:
    """CPU and memory of a daemon with all its followers, while nothing changes."""
    with _deployment(scale) as (place, _, followers), place.daemon() as daemon:
        followers.send(connect=True)
        followers.receive(CONNECT_S)
        time.sleep(1.0)  # what connecting left to do is not rest
        before, since = cpu_ns(daemon.pid), time.monotonic()
        time.sleep(scale.window_s)
        spent = (cpu_ns(daemon.pid) - before) / 1e9
        share = 100 * spent / (time.monotonic() - since)
        case = f"at rest: {_size(scale)}"
        return {
            Figure(SYSTEM, case, "CPU", "% of a core"): share,
            Figure(SYSTEM, case, "resident memory", "MiB"): _resident_mib(daemon.pid),
        }


def death(scale: Scale) -> Mapping[Figure, float]:
    """Seconds from kill -9 of the daemon, which is started again at once, until all follow."""
    with _deployment(scale) as (place, source, followers):
        with place.daemon() as daemon:
            followers.send(connect=True)
            followers.receive(CONNECT_S)
            source.send(load=True)
            source.receive()
            followers.send(watch=True)
            followers.receive()
            daemon.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            daemon.wait()
        with place.daemon(wait=False):
            source.send(mark=True)
            marked = followers.receive(RECOVER_S)["at"]
            source.send(rest=True)
            at_source = source.receive()
            followers.send(compare=at_source["clocks"])
            check_equal({"state": "equal"}, followers.receive(RECOVER_S), scale.followers)
    case = f"kill -9, {scale.changes_per_s:.0f} changes a second: {_size(scale)}"
    return {Figure(SYSTEM, case, "until the last one follows again", "s"): marked - killed}


def _size(scale: Scale) -> str:
    return f"{scale.followers} followers, {scale.machines} machines"


class _Place:
    """A folder with a daemon's configuration and sockets.

    Args:
        folder: The folder.
        upstream: Where the machines are served.
    """

    def __init__(self, folder: Path, upstream: str) -> None:
        self.addr = f"ipc://{folder}/edge.sock"
        self._folder = folder
        self._config = folder / "sidecar.toml"
        self._config.write_text(
            f'[daemon]\nbind = "ipc://{folder}/daemon.sock"\nhttp = "unix:{folder}/http.sock"\n'
            f'[jobs.edge]\nkind = "relay"\nupstream = ["{upstream}"]\nbind = "{self.addr}"\n',
            encoding="utf-8",
        )

    @contextmanager
    def daemon(self, wait: bool = True) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon, once it relays; ended in good order if it still runs."""
        log = self._folder / "daemon.log"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "amzmq", "sidecar", "--config", str(self._config)],
                stderr=said,
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": path, "XDG_RUNTIME_DIR": str(self._folder)},
            )
        try:
            if wait:
                _until_said(process, log, b"relaying")
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _deployment(scale: Scale) -> Iterator[tuple[_Place, Worker, Worker]]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Worker(
            "bench.sidecar_amzmq:source",
            machines=scale.machines,
            changes_per_s=scale.changes_per_s,
        ) as source,
    ):
        place = _Place(Path(folder), source.receive()["addr"])
        with Worker(
            "bench.sidecar_amzmq:followers",
            addr=place.addr,
            machines=scale.machines,
            followers=scale.followers,
        ) as followers:
            yield place, source, followers
            for worker in (followers, source):
                worker.finish()


def _until_said(process: subprocess.Popen[bytes], log: Path, text: bytes) -> None:
    deadline = time.monotonic() + CONNECT_S
    while text not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"the sidecar does not start: {log.read_text()}")
        time.sleep(0.01)


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB
