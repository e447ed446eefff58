"""What a configuration says of limits holds for who connects to a job, and is counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from amzmq.cli.security import Lock
from amzmq.errors import LimitExceeded
from amzmq.machine import Machine, State
from amzmq.net import SocketOptions
from amzmq.rpc import Client, Limits, Mux
from tests.sidecar.rig import PATIENCE_S, daemon

JOBS = """
[jobs.app]
kind = "exec"
command = ["sleep", "60"]
bind = "tcp://127.0.0.1:0"
limits.clients = 1

[jobs.door]
kind = "attach"
target = "attached:make"
bind = "tcp://127.0.0.1:0"
limits = { clients = 1, handshake = 1.5 }

[jobs.edge]
kind = "relay"
upstream = ["ADDR"]
limits = { clients = 1, handshake = 1.5 }
"""

MODULE = """
from amzmq import Machine, State

def make():
    return Machine({"Open": State()}, id="door")
"""


def test_the_time_for_handshakes_is_that_of_the_limits() -> None:
    assert Lock().transport(Limits(handshake=0.25))._options == SocketOptions(handshake_ms=250)
    assert Lock().transport()._options == SocketOptions()


async def test_each_job_and_the_daemon_hold_who_connects_to_their_own_limits(
    tmp_path: Path,
) -> None:
    (tmp_path / "attached.py").write_text(MODULE, encoding="utf-8")
    async with Mux(Machine({"Open": State()}, id="far")) as source, asyncio.timeout(PATIENCE_S):
        jobs = JOBS.replace("ADDR", source.addr)
        async with daemon(tmp_path, jobs, "limits.clients = 2") as running:
            await running.http.when("sidecar", "Ready")
            for id, room in (("app", 1), ("door", 1), ("far", 1), ("sidecar", 2)):
                addr = (await running.http.get(f"/machines/{id}"))["addr"]
                guests = [Client(addr, machine=id) for _ in range(room)]
                await asyncio.gather(*(guest.__aenter__() for guest in guests))
                with pytest.raises(LimitExceeded, match=f"clients={room} at this source"):
                    await Client(addr, machine=id).__aenter__()
                for guest in guests:
                    await guest.stop()
            page = (await running.http.ask("GET", "/metrics")).body.decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert [sample.value for sample in families["amzmq_mux_over_clients"].samples] == [1] * 4
