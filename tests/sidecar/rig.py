"""A daemon in a process of its own, an application's job in this one, and HTTP to ask them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from amzmq.machine import Machine, State
from amzmq.rpc import Client
from amzmq.sidecar.application import ExecJob
from amzmq.sidecar.config import ExecConfig
from amzmq.sidecar.directory import Directory, Exposed
from amzmq.sidecar.host import Host
from amzmq.sidecar.journal import Entry
from amzmq.sidecar.output import Outlet
from amzmq.sidecar.processes import Children
from tests.examples.warm import Process, start

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
PYTHON = sys.executable


def environment(**more: str) -> dict[str, str]:
    """This process's, with the checkout to import from, and without what a test may set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AMZMQ_", "NOTIFY_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **more}


# HTTP, as small as can be.


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Http:
    """Asks one server, over a new connection each time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await self.send(method, path, body, headers)
            try:
                status, told = await read_head(reader)
                return Answer(status, told, await _read_body(reader, told))
            finally:
                writer.close()

    async def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        data = b"" if body is None else json.dumps(body).encode()
        told = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(data))}
        if body is not None:
            told["Content-Type"] = "application/json"
        told |= headers or {}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data)
        return reader, writer

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == HTTPStatus.OK, answer
        return answer.json

    async def post(self, path: str, body: object) -> Answer:
        return await self.ask("POST", path, body)

    async def when(self, id: str, states: str = "", without: str = "") -> Any:
        query = f"states={states}&not={without}&timeout={PATIENCE_S}"
        told = await self.get(f"/machines/{id}/when?{query}")
        assert told["met"], told
        return told

    @asynccontextmanager
    async def events(self, id: str, last_id: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        reader, writer = await self.send("GET", f"/machines/{id}/events", headers=headers)
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, told = await read_head(reader)
            assert status == HTTPStatus.OK
            assert told["content-type"].startswith("text/event-stream")
            yield _events(reader)
        finally:
            writer.close()


@dataclass(frozen=True)
class Event:
    id: str
    kind: str
    data: Any


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    line = await reader.readline()
    headers = {}
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return int(line.split()[1]), headers


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        return b"".join([chunk async for chunk in _chunks(reader)])
    return await reader.read()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline() or b"0", 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[Event]:
    rest = b""
    async for chunk in _chunks(reader):
        *complete, rest = (rest + chunk).split(b"\n\n")
        for text in complete:
            fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
            if "event" in fields:
                yield Event(fields["id"], fields["event"], json.loads(fields["data"]))


async def heard(events: AsyncIterator[Event], wanted: Callable[[Event], bool]) -> Event:
    """The next event that is wanted."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if wanted(event):
                return event
    raise AssertionError("the stream has ended")


# A daemon of its own.


class Daemon:
    """A running daemon: what it prints, and its HTTP."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.process = process
        self.http = Http(folder / "http.sock")
        self.config = folder / "sidecar.toml"
        self.out: list[str] = []
        self.err: list[str] = []
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

    async def said(self, text: str, lines: list[str] | None = None) -> str:
        """The line with this text, on standard error if not told otherwise."""
        lines = self.err if lines is None else lines

        def found() -> str:
            return next((line for line in lines if text in line), "")

        async with asyncio.timeout(PATIENCE_S), self._said:
            await self._said.wait_for(found)
        return found()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def deafen(self) -> None:
        """Close our end of its standard output."""
        cast(Any, self.process.stdout)._transport.close()

    async def ended(self) -> int:
        """Its exit status, when it has ended and all is read."""
        async with asyncio.timeout(PATIENCE_S):
            status = await self.process.wait()
            await asyncio.gather(*self._reading)
        return status

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await self.ended()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
                raise AssertionError(f"it does not end: {self.err}") from None
        await asyncio.gather(*self._reading)


def config_text(folder: Path, jobs: str, daemon: str = "") -> str:
    return (
        f'[daemon]\nbind = "tcp://127.0.0.1:0"\nhttp = "unix:{folder}/http.sock"\n'
        f"log_json = true\n{daemon}\n{jobs}"
    )


@asynccontextmanager
async def daemon(
    folder: Path, jobs: str, daemon: str = "", *args: str, **env: str
) -> AsyncIterator[Daemon]:
    """A daemon with these jobs, from the moment on that it answers."""
    path = folder / "sidecar.toml"
    path.write_text(config_text(folder, jobs, daemon), encoding="utf-8")
    async with started(folder, "--config", str(path), *args, **env) as running:
        await running.said("http at")
        yield running


@asynccontextmanager
async def started(folder: Path, *args: str, **env: str) -> AsyncIterator[Daemon]:
    """The command; with ``stdin`` as a pipe."""
    process = await start(
        *(PYTHON, "-W", "error", "-m", "amzmq", "sidecar", *args),
        cwd=folder,
        env=environment(**{"XDG_RUNTIME_DIR": str(folder), **env}),
    )
    running = Daemon(process, folder)
    try:
        yield running
    finally:
        await running.close()


def script(code: str) -> list[str]:
    """The command that runs a piece of Python."""
    return [PYTHON, "-c", code]


# A job in this process.


class Rig:
    """An application's job, and what it told."""

    def __init__(self, job: ExecJob, host: Host) -> None:
        self.job = job
        self.mach = job.mach
        self.host = host
        exposed = host.directory.get(job.name)
        assert exposed is not None
        self.exposed: Exposed = exposed

    def client(self) -> Client:
        return Client(self.exposed.addr, machine=self.mach.id)

    async def until(self, *states: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.mach.when(*states)

    async def told(self) -> list[Entry]:
        """All changes and payloads; ends the job."""
        await self.job.stop()
        journal = self.exposed.journal
        return [entry async for entry in journal.read(f"{journal.epoch}-0", 1.0) if entry]

    async def payloads(self, name: str) -> list[Any]:
        """All payloads of this name; ends the job."""
        told = [entry.data for entry in await self.told() if entry.kind == "payload"]
        return [data["data"] for data in told if data["name"] == name]


@asynccontextmanager
async def application(config: ExecConfig, output: Path) -> AsyncIterator[Rig]:
    """An application that runs until the block ends; what it prints is passed on to a file."""
    with output.open("wb") as file, Children() as children:
        outlet = Outlet(file.fileno())
        directory = Directory("test")
        life = Machine({"Ready": State()}, id="test")
        shown = await directory.open(life, "tcp://127.0.0.1:0")
        host = Host(directory, children, outlet, outlet)
        job = ExecJob("app", config, host)
        await job.start()
        try:
            yield Rig(job, host)
        finally:
            if not job.mach.is_disposed:
                job.kill()
                await job.stop()
            await directory.withdraw(shown)
