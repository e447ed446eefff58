"""The desk that answers who missed something, in exact time: one snapshot after the other."""

from __future__ import annotations

import asyncio

import pytest

from amzmq.rpc.server.counters import MuxCounters
from amzmq.rpc.server.sync_desk import SyncDesk
from amzmq.wire.control import Sync
from amzmq.wire.writer import StreamWriter
from bench import virtual
from tests.rpc.virtual_time import in_virtual_time
from tests.wire.rig import writer_of


class Asker:
    """A client's end: when it was answered."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def send_frame(self, frame: bytes) -> None:
        self.times.append(asyncio.get_running_loop().time())


def stream() -> StreamWriter:
    made = writer_of()
    made.begin([], 1, 0)
    return made


@in_virtual_time
async def test_snapshots_beyond_the_burst_are_spread_over_time_in_the_order_of_the_questions() -> (
    None
):
    desk, said = SyncDesk(MuxCounters(), rate=2.0, burst=2.0), stream()
    askers = [Asker() for _ in range(5)]
    for asker in askers:
        desk.answer(asker, said, Sync(1, b"", 0))
    assert desk.waiting == 3
    await asyncio.sleep(10)
    assert [asker.times for asker in askers] == [[0], [0], [0.5], [1.0], [1.5]]


def test_a_desk_where_nobody_waits_any_more_sets_no_timer() -> None:
    async def main() -> None:
        desk, said = SyncDesk(MuxCounters(), rate=1.0, burst=1.0), stream()
        for _ in range(3):
            desk.answer(Asker(), said, Sync(1, b"", 0))
        await asyncio.get_running_loop().create_future()

    with pytest.raises(virtual.Stuck, match="no timer is set"):
        virtual.run(main())
