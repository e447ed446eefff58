"""One program of the lab, and the pipe to it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
LAST_WORDS = 2000
"""Bytes at the end of stderr that are looked at."""


class Ended(Exception):
    """A program ended, or said nothing, where an answer was due."""


class Program:
    """A process; commands go in, one answer comes back for each.

    Args:
        process: It.
        name: Names it in errors.
        complaints: Its stderr.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, name: str, complaints: IO[bytes]
    ) -> None:
        self.process = process
        self.name = name
        self._complaints = complaints
        self.hello: dict[str, Any] = {}
        self._turn = asyncio.Lock()

    @classmethod
    async def run(cls, program: str, **options: Any) -> Program:
        """Start a program of `tests/faults/programs`, or a module with dots in its name."""
        module = program if "." in program else f"tests.faults.programs.{program}"
        complaints = tempfile.TemporaryFile()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-m", module,
            json.dumps(options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
            cwd=ROOT,
            limit=2**20,
        )  # fmt: skip
        started = cls(process, program, complaints)
        try:
            started.hello = await started._hear()
        except BaseException:
            await started.kill()
            raise
        return started

    async def ask(self, *command: object) -> Any:
        """Have it run a command."""
        async with self._turn:
            self._write(command)
            return await self._hear()

    def _write(self, command: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _hear(self) -> Any:
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise Ended(f"{self.name} does not answer") from None
        if not line:
            status = await self.process.wait()
            raise Ended(f"{self.name} has ended with status {status}{self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        if self._complaints.closed:
            return ""
        self._complaints.seek(0)
        lines = self._complaints.read()[-LAST_WORDS:].decode(errors="replace").splitlines()
        return f": {lines[-1]}" if lines else ""

    def freeze(self) -> None:
        """Stop it in its tracks."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it the hard way."""
        if self.process.returncode is None:
            self.process.kill()
        await self._ended()

    async def _ended(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            await self.process.wait()
        self._complaints.close()

    async def stop(self) -> list[str]:
        """End it as it should be ended; what it left behind."""
        left = await self.ask("stop")
        await self._ended()
        if self.process.returncode != 0:
            left.append(f"status {self.process.returncode}")
        return [f"{self.name}: {one}" for one in left]
