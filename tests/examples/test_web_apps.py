"""Both web programs: the same questions over HTTP, and the flags' owner beside them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from amzmq import Client
from tests.examples.programs import ANY, EXAMPLES, PATIENCE_S, python, running

FLAGS = EXAMPLES / "feature_flags" / "flags.py"
# Port 0 is any free one; each tells in its own words which one it got.
SERVERS = {
    "flask_app": ("-m", "flask", "--app", "app", "run", "--port", "0"),
    "fastapi_app": ("-m", "uvicorn", "app:app", "--port", "0"),
}
NONE = {"Payments": True, "NewCheckout": False, "Maintenance": False, "DarkMode": False}


@asynccontextmanager
async def serving(kind: str) -> AsyncIterator[tuple[str, str]]:
    """The program, and the flags' owner: their addresses."""
    async with running(*python(FLAGS, ANY)) as owner:
        addr = await owner.addr()
        command = (sys.executable, *SERVERS[kind])
        async with running(*command, cwd=EXAMPLES / kind, env={"FLAGS": addr}) as program:
            url = (await program.says(r"[Rr]unning on (http://127\.0\.0\.1:\d+)"))[1]
            yield url, addr


async def ask(url: str, method: str = "GET") -> tuple[int, str]:
    def send() -> tuple[int, str]:
        try:
            with urlopen(Request(url, method=method), timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(send)


async def flags(url: str, method: str = "GET") -> dict[str, bool]:
    status, body = await ask(url, method)
    assert status == 200, body
    told = json.loads(body)
    assert isinstance(told, dict)
    return {name: told[name] for name in NONE}


@pytest.mark.parametrize("kind", SERVERS)
async def test_who_switches_a_flag_over_http_sees_it_in_the_answer_or_is_told_why_not(
    kind: str,
) -> None:
    async with serving(kind) as (url, addr):
        assert await flags(f"{url}/flags") == NONE
        assert (await flags(f"{url}/flags/NewCheckout", "PUT"))["NewCheckout"]
        async with Client(addr) as client:
            assert client.net_mach.is_("NewCheckout")
        assert not (await flags(f"{url}/flags/Payments", "DELETE"))["NewCheckout"]
        # What the flags refuse is a conflict, and one that they do not know is not found.
        assert (await ask(f"{url}/flags/Maintenance", "PUT"))[0] == 200
        status, body = await ask(f"{url}/flags/NewCheckout", "PUT")
        assert status == 409
        assert "refuse" in body
        assert (await ask(f"{url}/flags/NoSuchFlag", "PUT"))[0] == 404


async def test_a_flask_page_follows_the_flags() -> None:
    async with serving("flask_app") as (url, _):
        assert await ask(f"{url}/") == (200, "old checkout\n")
        await ask(f"{url}/flags/Maintenance", "PUT")
        assert await ask(f"{url}/") == (503, "back soon\n")


async def test_fastapi_streams_every_change() -> None:
    async with serving("fastapi_app") as (url, addr), Client(addr) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        try:
            writer.write(b"GET /flags/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            async with asyncio.timeout(PATIENCE_S):
                assert await event(reader) == NONE
                await client.net_mach.add("DarkMode")
                assert await event(reader) == {**NONE, "DarkMode": True}
                await client.net_mach.add("Maintenance")
                later = {**NONE, "Payments": False, "Maintenance": True, "DarkMode": True}
                assert await event(reader) == later
        finally:
            writer.close()


async def event(reader: asyncio.StreamReader) -> dict[str, bool]:
    line = b""
    while not line.startswith(b"data: "):
        line = await reader.readline()
        assert line, "the stream has ended"
    told = json.loads(line.removeprefix(b"data: "))
    return {name: told[name] for name in NONE}
