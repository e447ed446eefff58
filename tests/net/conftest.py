from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from amzmq.net import Delivery, MemoryNetwork, ZmqTransport

from .curve_rig import ALICE, BOB, Hosts, allow
from .rig import PATIENCE_S, QUICK, Ends, World, until


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def ipc_dir() -> Iterator[str]:
    # Not tmp_path: that is often longer than the 107 bytes a socket's path may have.
    with tempfile.TemporaryDirectory(prefix="net") as path:
        yield path


@pytest.fixture(params=["memory", "tcp", "ipc"])
async def world(request: pytest.FixtureRequest, ipc_dir: str) -> AsyncIterator[World]:
    if request.param == "memory":
        network = MemoryNetwork()
        made = World("memory", network.transport(), network.transport(), "mem://a:*", network)
    else:
        address = "tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{ipc_dir}/a"
        made = World(request.param, ZmqTransport(QUICK), ZmqTransport(QUICK), address, None)
    yield made
    await made.client.close()
    await made.source.close()


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    made = Hosts()
    yield made
    for transport in made.made:
        await transport.close()


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    folder.mkdir()
    allow(folder, "alice", ALICE)
    allow(folder, "bob", BOB)
    return folder


__all__ = ["PATIENCE_S", "QUICK", "Delivery", "Ends", "World", "until"]
