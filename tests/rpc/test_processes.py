"""Real processes and real sockets: stopped, killed, restarted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 20.0
ROOT = Path(__file__).parents[2]


class Program:
    """A program of `tests/rpc/programs`, and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.hello: dict[str, Any] = {}

    async def hear(self) -> Any:
        """The next thing it says."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await self.process.stdout.readline()
        assert line, "the program has ended"
        return json.loads(line)

    async def ask(self, *command: object) -> Any:
        """Has it run a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self.hear()

    async def kill(self) -> None:
        """Ends it the hard way."""
        self.process.kill()
        await self.process.communicate()

    async def stop(self) -> None:
        """Ends it as it should be ended: soon, and without a complaint."""
        if self.process.returncode is not None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, complaints = await self.process.communicate(b'["stop"]\n')
        except TimeoutError:
            await self.kill()
            raise
        assert complaints == b""
        assert self.process.returncode == 0


class Host:
    """Starts programs, and ends them with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def run(self, program: str, **options: Any) -> Program:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            "-m",
            f"tests.rpc.programs.{program}",
            json.dumps(options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        started = Program(process)
        self._stack.push_async_callback(started.stop)
        started.hello = await started.hear()
        return started

    async def followers(self, source: Program, count: int, **options: Any) -> list[Program]:
        runs = [
            self.run("follower", addr=source.hello["addr"], name=f"f{n}", **options)
            for n in range(count)
        ]
        return list(await asyncio.gather(*runs))


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with AsyncExitStack() as stack:
        yield Host(stack)


async def until(condition: Callable[[], Any]) -> None:
    """Asks until the answer is yes."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.02)


async def are_level(source: Program, *followers: Program) -> bool:
    clock = await source.ask("clock")
    return all([await follower.ask("clock") == clock for follower in followers])


# Some tenths of a second of the load; with less, catching up with all the rest takes long
# enough to overflow a second time.
SMALL = {
    "send_hwm": 1000,
    "receive_hwm": 1000,
    "send_buffer_bytes": 4096,
    "receive_buffer_bytes": 4096,
}


PATIENT = {"heartbeat_interval_ms": 0}


@pytest.mark.parametrize(
    ("heartbeat", "sockets", "connects", "load_goes_on"),
    [(1.0, SMALL, 2, False), (5.0, SMALL | PATIENT, 1, True)],
    ids=["connection ends", "connection lives, under load"],
)
async def test_a_follower_stopped_for_5_s_under_load_heals_with_one_resync(
    host: Host, heartbeat: float, sockets: dict[str, int], connects: int, load_goes_on: bool
) -> None:
    source = await host.run("source", heartbeat=heartbeat, sockets=sockets)
    stopped, other = await host.followers(source, 2, sockets=sockets)
    await source.ask("start_load")
    await until(lambda: _has_applied(stopped, 100))
    before = await stopped.ask("metrics")
    os.kill(stopped.process.pid, signal.SIGSTOP)
    await asyncio.sleep(5.0)
    if not load_goes_on:
        await source.ask("stop_load")
    os.kill(stopped.process.pid, signal.SIGCONT)
    if load_goes_on:
        await until(lambda: _has_caught_up(source, stopped))
        await source.ask("stop_load")
    await until(lambda: are_level(source, stopped, other))
    after = await stopped.ask("metrics")
    assert after["gaps"] >= before["gaps"] + 1
    assert after["resyncs"] == before["resyncs"] + 1
    assert after["mismatches"] == 0
    assert after["connects"] == connects
    published = (await source.ask("status"))["payloads"]
    assert after["payloads"] + after["payloads_lost"] == published
    # Nobody else was held up.
    metrics = await other.ask("metrics")
    assert (metrics["connects"], metrics["gaps"], metrics["payloads"]) == (1, 0, published)


async def _has_caught_up(source: Program, follower: Program) -> bool:
    """Whether a follower is where the source was when last asked, though that goes on."""
    there = (await source.ask("status"))["updates"]
    return bool((await follower.ask("metrics"))["updates"] > there)


async def _has_applied(follower: Program, updates: int) -> bool:
    return int((await follower.ask("metrics"))["updates"]) > updates


async def test_followers_of_a_killed_source_follow_the_next_on_its_address(host: Host) -> None:
    source = await host.run("source")
    followers = await host.followers(source, 3)
    await source.ask("add", "A")
    await source.ask("add", "B")
    await until(lambda: are_level(source, *followers))
    await source.kill()
    address = {"bind": source.hello["addr"], "feed": source.hello["feed"]}
    again = await host.run("source", **address)
    await again.ask("add", "C")
    await until(lambda: are_level(again, *followers))
    assert [await follower.ask("add", "B") for follower in followers] == ["executed"] * 3
    await until(lambda: are_level(again, *followers))
    assert (await again.ask("status"))["clients"] == ["rc-f0", "rc-f1", "rc-f2"]


async def test_an_address_in_use_is_one_clear_line(host: Host) -> None:
    source = await host.run("source")
    other = await host.run("source", bind=source.hello["addr"])
    assert other.hello["error"] == "AddressInUse"
    message = other.hello["message"]
    assert source.hello["addr"] in message
    assert "in use" in message
    assert "\n" not in message


async def test_a_killed_follower_is_noticed_and_others_live_on(host: Host) -> None:
    source = await host.run("source", heartbeat=0.1)
    killed, other = await host.followers(source, 2)
    assert (await source.ask("status"))["clients"] == ["rc-f0", "rc-f1"]
    await killed.kill()
    await until(lambda: _clients_are(source, ["rc-f1"]))
    assert (await source.ask("status"))["has_clients"]
    assert await other.ask("add", "A") == "executed"
    assert await are_level(source, other)
    await other.kill()
    await until(lambda: _clients_are(source, []))
    assert not (await source.ask("status"))["has_clients"]


async def _clients_are(source: Program, clients: list[str]) -> bool:
    return bool((await source.ask("status"))["clients"] == clients)
