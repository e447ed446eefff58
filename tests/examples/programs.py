"""Running programs of the repository as their users do: as processes that print."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.examples.warm import Process, start

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE_S = 30.0
ANY = "tcp://127.0.0.1:0"


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, with the checkout to import from, and without what would be a setting."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AMZMQ_", "AM_", "NOTIFY_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **(more or {})}


class Program:
    """A process, and the lines that it prints."""

    def __init__(self, process: Process) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._process = process
        self._said = asyncio.Condition()
        assert process.stdout is not None
        assert process.stderr is not None
        self._reading = [
            asyncio.create_task(self._read(process.stdout, self.out)),
            asyncio.create_task(self._read(process.stderr, self.err)),
        ]

    async def _read(self, reader: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in reader:
            async with self._said:
                lines.append(line.decode().rstrip("\n"))
                self._said.notify_all()
        async with self._said:
            self._said.notify_all()

    async def says(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait for so many lines, on either output, that match; the last of these matches."""

        def found() -> list[re.Match[str]]:
            return [m for line in (*self.out, *self.err) if (m := re.search(pattern, line))]

        def is_over() -> bool:
            return len(found()) >= count or all(task.done() for task in self._reading)

        # When the time is up, what it did say tells more than that it was.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S), self._said:
                await self._said.wait_for(is_over)
        matches = found()
        assert len(matches) >= count, f"no {pattern!r} in {self.out} {self.err}"
        return matches[count - 1]

    async def addr(self) -> str:
        """Where it says that it serves."""
        return (await self.says(r"serving at (\S+)"))[1]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, once it has ended and all is read."""
        async with asyncio.timeout(PATIENCE_S):
            status = await self._process.wait()
            await asyncio.gather(*self._reading)
        return status

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self.ended()


@contextlib.asynccontextmanager
async def running(
    *command: str | Path,
    cwd: Path | None = None,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """A command, killed at the end if it still runs."""
    process = await start(*command, cwd=cwd, env=environment(env))
    assert process.stdin is not None
    program = Program(process)
    try:
        process.stdin.write(stdin.encode())
        process.stdin.close()
        yield program
    finally:
        await program.close()


def python(script: str | Path, *args: str) -> tuple[str, ...]:
    """The command that runs one of our programs; a warning in it is a mistake of ours."""
    return (sys.executable, "-W", "error", str(script), *args)


async def ran(*command: str, cwd: Path | None = None, stdin: str = "") -> str:
    """What a command that has to succeed prints."""
    async with running(*command, cwd=cwd, stdin=stdin) as program:
        status = await program.ended()
    assert status == 0, (command, status, program.out, program.err)
    return "\n".join(program.out)


async def amzmq(*args: str) -> str:
    """What the command of ours prints."""
    return await ran(sys.executable, "-m", "amzmq", *args)
