"""Hosts of a deployment: on each a sidecar, and what asks it all the while how it is."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.deploy.network import Host
from tests.examples.programs import Program, running

PROGRAMS = Path(__file__).parent / "programs"
HTTP = "http://127.0.0.1:7790"
PATIENCE_S = 30.0
POLL_S = 0.05


class Site:
    """A host with its sidecar.

    Args:
        host: The host.
        sidecar: The daemon.
        probe: What asks it how it is.
    """

    def __init__(self, host: Host, sidecar: Program, probe: Program) -> None:
        self.host = host
        self.name = host.name
        self._sidecar = sidecar
        self._probe = probe

    async def end(self) -> None:
        """End it in good order."""
        for program in (self._probe, self._sidecar):
            program.send(signal.SIGTERM)
            status = await program.ended()
        assert status == 0, (self.name, self._sidecar.err)

    # What its interface says, to curl on that host.

    async def curl(self, path: str, body: object = None) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        more = () if body is None else ("--json", json.dumps(body))
        asked = ("curl", "--silent", "--max-time", "10", "--write-out", "\n%{http_code}", *more)
        async with running(*self.host.run(*asked, HTTP + path)) as curl:
            assert await curl.ended() == 0, (self.name, path, curl.out, curl.err)
        *text, status = curl.out
        return int(status), json.loads("".join(text))

    async def fleet(self) -> Any:
        """The machine of them all, as it is here."""
        status, told = await self.curl("/machines/fleet")
        assert status == 200, told
        return told

    async def change(self, kind: str, *states: str) -> int:
        """The status that a change is answered with."""
        status, _ = await self.curl(f"/machines/fleet/{kind}", {"states": states})
        return status

    async def when(self, query: str) -> None:
        """Wait for states."""
        _, told = await self.curl(f"/machines/fleet/when?{query}&timeout=10")
        assert told["met"], (self.name, query, told)

    # What was told to those who looked.

    @property
    def health(self) -> set[str]:
        """All that /healthz answered."""
        return {line for line in self._probe.out if "alive" in line or "ready" not in line}

    @property
    def readiness(self) -> list[str]:
        """What /readyz told, in its order, each once: ``unready``, ``ready`` or ``stale``."""
        answers = (line for line in self._probe.out if "ready" in line)
        return [told for told, _ in groupby(map(_readiness, answers))]

    async def until(self, told: str) -> None:
        """Wait until /readyz tells this."""
        await eventually(lambda: self.readiness[-1:] == [told], lambda: (self.name, self.readiness))

    # What its application and its recorder printed.

    async def did(self, shares: int) -> None:
        """Wait until the application has done its share so many times."""
        await self._sidecar.says(f"^share of {self.name}$", shares)

    def clock_of_events(self) -> dict[str, int]:
        """The clock that the events tell, one upon the other."""
        clock: dict[str, int] = {}
        for line in self._sidecar.out:
            if line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                clock |= data.get("clock") or data["ticks"]
        return clock


def _readiness(answer: str) -> str:
    body, _, status = answer.rpartition(" ")
    if status != "200":
        return "unready"
    return "stale" if json.loads(body)["stale"] else "ready"


async def eventually(is_so: Callable[[], bool], what: Callable[[], object]) -> None:
    """Look until it is so: what is looked at is told by processes, line by line."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError(what()) from None


@asynccontextmanager
async def site(host: Host, folder: Path, config: str) -> AsyncIterator[Site]:
    """A host with a sidecar of this configuration, and its probe."""
    path = folder / f"{host.name}.toml"
    path.write_text(config, encoding="utf-8")
    amzmq = (sys.executable, "-W", "error", "-m", "amzmq", "sidecar", "--config", str(path))
    env = {"HOST": host.name, "XDG_RUNTIME_DIR": str(folder / host.name)}
    (folder / host.name).mkdir(mode=0o700)
    async with running(*host.run(*amzmq), cwd=PROGRAMS, env=env) as sidecar:
        await sidecar.says("http at")
        async with running(*host.run("sh", str(PROGRAMS / "probe.sh"), HTTP)) as probe:
            yield Site(host, sidecar, probe)
