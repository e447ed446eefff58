from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import zmq

from amzmq.net import Delivery, MemoryNetwork, ZmqTransport

from .curve_rig import ALICE, BOB, Hosts, Source, allow
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


@pytest.fixture
def failed_handshakes() -> Iterator[Callable[[Source], Callable[[], int]]]:
    """Counts connections to a source that ended before they were anybody's, as libzmq sees them."""
    monitors: list[zmq.Socket[bytes]] = []
    events = (
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    )

    def watch(source: Source) -> Callable[[], int]:
        seen = 0
        for sock in (source.router._sock, source.publisher._sock):
            monitors.append(sock.get_monitor_socket(events))

        def count() -> int:
            nonlocal seen
            for monitor in monitors:
                while monitor.poll(0):
                    monitor.recv_multipart()
                    seen += 1
            return seen

        return count

    yield watch
    for monitor in monitors:
        monitor.close(0)


__all__ = ["PATIENCE_S", "QUICK", "Delivery", "Ends", "World", "until"]
