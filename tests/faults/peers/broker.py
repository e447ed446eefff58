"""The server that a peer needs between its processes; it keeps on disk what it is told to keep."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from bench.brokers import free_port
from tests.faults.process import PATIENCE_S, Ended


def redis(port: int, folder: Path) -> list[str]:
    """A redis-server with its log of changes on disk."""
    return [
        "redis-server", "--bind", "127.0.0.1", "--port", f"{port}", "--dir", str(folder),
        "--save", "", "--appendonly", "yes",
    ]  # fmt: skip


def nats(port: int, folder: Path) -> list[str]:
    """A nats-server with JetStream."""
    return [
        "nats-server", "--addr", "127.0.0.1", "--port", f"{port}", "--jetstream",
        "--store_dir", str(folder),
    ]  # fmt: skip


Command = Callable[[int, Path], list[str]]


class Broker:
    """A server that can be killed, frozen and started again at the same place.

    Args:
        command: Makes its command line.
        ready: What it says when it is ready.
        folder: For what it keeps.
    """

    def __init__(self, command: Command, ready: str, folder: Path) -> None:
        self.port = free_port()
        self._command = command(self.port, folder)
        self._ready = ready.encode()
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None

    @property
    def addr(self) -> str:
        """Where it listens."""
        return f"tcp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            async for line in process.stdout:
                if self._ready in line:
                    break
            else:
                raise Ended(f"{self._command[0]} has ended with status {await process.wait()}")
        self._drain = asyncio.create_task(_drain(process.stdout), name="log of the broker")

    def freeze(self) -> None:
        """Stop it in its tracks."""
        self._living.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._living.send_signal(signal.SIGCONT)

    @property
    def _living(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def kill(self) -> None:
        """End it the hard way."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        async with asyncio.timeout(PATIENCE_S):
            await self._process.wait()
            if self._drain is not None:
                await self._drain
        self._process = self._drain = None


async def _drain(log: asyncio.StreamReader) -> None:
    while await log.read(65536):
        pass
