"""What one asks of a small init: the daemon in a process of its own around a command."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.sidecar.rig import PATIENCE_S, Daemon, daemon, script, started

ANY_PORT = ("--bind", "tcp://127.0.0.1:0", "--exec-bind", "tcp://127.0.0.1:0")


@asynccontextmanager
async def around(folder: Path, *command: str, flags: tuple[str, ...] = ()) -> AsyncIterator[Daemon]:
    """``amzmq sidecar --exec -- command``."""
    http = ("--http", f"unix:{folder}/http.sock")
    args = (*ANY_PORT, *http, "--log-json", *flags, "--exec", "--", *command)
    async with started(folder, *args) as running:
        yield running


@pytest.mark.parametrize(
    ("code", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
async def test_its_exit_status_is_the_commands(tmp_path: Path, code: str, status: int) -> None:
    async with around(tmp_path, "sh", "-c", code) as running:
        assert await running.ended() == status


async def test_a_command_that_is_not_there_is_status_127(tmp_path: Path) -> None:
    async with around(tmp_path, "/nowhere/program") as running:
        assert await running.ended() == 127


async def test_input_and_output_are_those_of_the_command(tmp_path: Path) -> None:
    code = "import sys; data = sys.stdin.read(); print(data.upper(), end='')"
    async with around(tmp_path, *script(code), flags=("--log-level", "error")) as running:
        assert running.process.stdin is not None
        running.process.stdin.write(b"first\nlast without end")
        running.process.stdin.close()  # the command reads its end
        assert await running.ended() == 0
        assert running.out == ["FIRST", "LAST WITHOUT END"]
        assert running.err == []


# It waits for signals: a handler's exception is too late for a sleep that is just beginning.
LOYAL = """
import signal, sys
names = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGWINCH")
awaited = {getattr(signal, name) for name in names}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
print("up", flush=True)
while True:
    number = signal.sigwait(awaited)
    print("got", signal.Signals(number).name, flush=True)
    if number in (signal.SIGTERM, signal.SIGINT): sys.exit(9)
"""


async def test_signals_are_handed_on_to_the_command(tmp_path: Path) -> None:
    async with around(tmp_path, *script(LOYAL)) as running:
        await running.said("up", running.out)
        for name in ("SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGWINCH"):
            running.signal(getattr(signal, name))
            await running.said(f"got {name}", running.out)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_who_ends_the_daemon_ends_the_command_with_the_same_signal(
    tmp_path: Path, name: str
) -> None:
    async with around(tmp_path, *script(LOYAL)) as running:
        await running.said("up", running.out)
        running.signal(getattr(signal, name))
        assert await running.ended() == 9
        assert f"got {name}" in running.out


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True: time.sleep(1000)
"""


async def test_a_second_signal_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    async with around(tmp_path, *script(STUBBORN)) as running:
        await running.said("up", running.out)
        running.signal(signal.SIGTERM)
        await running.said("draining")
        running.signal(signal.SIGTERM)
        assert await running.ended() == 128 + signal.SIGKILL


async def test_draining_has_an_end_whatever_the_grace(tmp_path: Path) -> None:
    flags = ("--drain-timeout", "0.2")
    async with around(tmp_path, *script(STUBBORN), flags=flags) as running:
        await running.said("up", running.out)
        running.signal(signal.SIGTERM)
        assert await running.ended() == 128 + signal.SIGKILL


ORPHANS = """
import os, sys, time
for _ in range(5):
    if os.fork() == 0:
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
            os._exit(0)  # its parent is gone: whoever is its parent now has to wait for it
        os._exit(0)
for _ in range(5): os.wait()
print("up", flush=True)
while True: time.sleep(1000)
"""


async def test_no_zombie_stays(tmp_path: Path) -> None:
    async with around(tmp_path, *script(ORPHANS)) as running:
        await running.said("up", running.out)
        async with asyncio.timeout(PATIENCE_S):
            while _zombies(running.process.pid):
                await asyncio.sleep(0.01)
        metrics = (await running.http.ask("GET", "/metrics")).body.decode()
        reaped = next(line for line in metrics.splitlines() if line.startswith("amzmq_orphans"))
        assert float(reaped.split()[1]) >= 5


def _zombies(parent: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, its_parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(its_parent) == parent:
                found.append(stat.parent.name)
    return found


DAEMONISES = """
import os, sys, time
told, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.write(tell, b".")
        time.sleep(1000)
    os._exit(0)
os.wait()
os.read(told, 1)
"""


async def test_a_command_that_forks_away_has_ended_and_leaves_nothing(tmp_path: Path) -> None:
    async with around(tmp_path, *script(DAEMONISES)) as running:
        assert await running.ended() == 0
    assert len(running.out) == 1
    assert not Path(f"/proc/{running.out[0]}").exists()


async def test_the_command_ends_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print(os.getpid(), flush=True)
signal.sigwait([signal.SIGTERM])
open({str(tmp_path / "told")!r}, "w").close()
"""
    async with around(tmp_path, *script(code)) as running:
        pid = int(await running.said("", running.out))
        running.signal(signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            while not _has_ended(pid):
                await asyncio.sleep(0.01)
    assert (tmp_path / "told").exists(), "it may end in its own way"


def _has_ended(pid: int) -> bool:
    """Also if nobody has asked for its status yet: that is init's."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_the_end_of_its_own_readers_does_not_disturb_the_command(tmp_path: Path) -> None:
    code = "print('up', flush=True)\ninput()\nfor n in range(9999): print(n)\n"
    async with around(tmp_path, *script(code + "exit(4)")) as running:
        await running.said("up", running.out)
        running.deafen()
        assert running.process.stdin is not None
        running.process.stdin.write(b"go on\n")
        assert await running.ended() == 4
        assert "not passed on any more" in await running.said("not passed on")


async def test_hangup_is_the_commands_if_there_is_no_file_to_read_again(tmp_path: Path) -> None:
    async with around(tmp_path, *script(LOYAL)) as running:
        await running.said("up", running.out)
        running.signal(signal.SIGHUP)
        await running.said("got SIGHUP", running.out)


async def test_a_killed_child_of_several_does_not_end_the_daemon(tmp_path: Path) -> None:
    jobs = (
        '[jobs.a]\nkind = "exec"\ncommand = ["sleep", "1000"]\n'
        '[jobs.b]\nkind = "exec"\ncommand = ["false"]\n'
    )
    async with daemon(tmp_path, jobs) as running:
        await running.http.when("b", "Failed")
        await running.http.when("sidecar", "Degraded")
        assert (await running.http.get("/machines/a"))["active"] != []
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
