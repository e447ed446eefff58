"""What the recorder writes is what happened, and healthy systems break no promise."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import pytest

from amzmq.machine import Machine, Schema, State
from amzmq.net import MemoryNetwork
from amzmq.rpc import Client, Mux
from tests.oracles.history import (
    Answered,
    Fate,
    Fired,
    Heard,
    History,
    Met,
    Ran,
    Saw,
    Sight,
    Took,
)
from tests.oracles.promises import Promise, breaches
from tests.oracles.recorder import KEY_ARG, FollowerRecorder, SourceRecorder, clock_of

_Kind = TypeVar("_Kind")

ADDR = "mem://source"
SCHEMA: Schema = {"A": State(), "B": State(remove=["A"]), "Multi": State(multi=True)}
PATIENCE_S = 10.0


class Pair:
    """A source and one follower, recorded."""

    def __init__(self) -> None:
        network = MemoryNetwork()
        self.history = History(journal=1000)
        self.machine = Machine(SCHEMA, id="src")
        self.source = SourceRecorder(self.history.note, "life", self.machine)
        self.mux = Mux(
            self.machine,
            ADDR,
            heartbeat=0.02,
            transport=self.source.tapped(network.transport()),
        )
        self.follower = FollowerRecorder(self.history.note, "f", Sight())
        self.client = Client(
            ADDR, "f", transport=self.follower.tapped(network.transport()), disconn_cooldown=0
        )
        self.follower.watch(self.client)

    async def __aenter__(self) -> Pair:
        await self.mux.start()
        self.client.start()
        await self.client.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()
        await self.mux.stop()

    async def rest(self) -> None:
        """Wait until the follower is level and a heartbeat has said so, and note it."""
        heard = sum(isinstance(one, Heard) for one in self.history)
        async with asyncio.timeout(PATIENCE_S):
            while sum(isinstance(one, Heard) for one in self.history) < heard + 2:
                await asyncio.sleep(0.005)
            await self.client.sync()
        self.follower.at_rest()
        self.source.at_rest(self.client.epoch.hex())

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        return [one for one in self.history if isinstance(one, kind)]


async def test_a_healthy_pair_is_recorded_and_breaks_nothing() -> None:
    async with Pair() as pair:
        pair.machine.add("A")
        assert await pair.follower.call("c1", "add", "B") == "executed"
        pair.follower.call_ns("n1", "Multi")
        pair.follower.wait_for("Multi", "k1")
        await pair.client.sync()
        pair.machine.add("Multi", args={KEY_ARG: "k1"})
        everybody = pair.mux.send_payload("p", 1)
        receipt = pair.mux.send_payload("d", 2, "f")
        pair.source.sent("f", receipt)
        async with asyncio.timeout(PATIENCE_S):
            await receipt
        await pair.rest()
    assert breaches(pair.history) == []
    assert Ran("life", "c1", True) in pair.history
    assert Ran("life", "n1", True) in pair.history
    assert Fired("life", "k1") in pair.history
    assert Met("f", "k1") in pair.history
    assert [took.token for took in pair.of(Took)] == [everybody.token.hex(), receipt.token.hex()]
    assert Fate(receipt.token.hex(), True) in pair.history
    assert pair.of(Saw)
    assert pair.of(Heard)


async def test_a_replica_that_is_tampered_with_is_found_out() -> None:
    async with Pair() as pair:
        pair.client.follower.clock.ticks[0] += 2
        pair.machine.add("B")
        await pair.rest()
    found = {breach.promise for breach in breaches(pair.history)}
    assert found >= {Promise.ATOMIC, Promise.RELIABLE, Promise.BOOKMARKED}


async def test_a_payload_that_is_swallowed_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Pair() as pair:
        pair.mux.send_payload("p", 1)
        monkeypatch.setattr(pair.client, "deliver", lambda frame: None)
        pair.mux.send_payload("p", 2)
        await pair.rest()
    found = {breach.promise for breach in breaches(pair.history)}
    # The first may have arrived with the second, when nobody listened any more.
    assert Promise.LOSSES_COUNTED in found


@pytest.mark.parametrize(
    ("before", "outcome"), [(("A",), "executed"), ((), "executed"), (("B",), "canceled")]
)
async def test_calls_end_as_the_source_says(before: tuple[str, ...], outcome: str) -> None:
    async with Pair() as pair:
        pair.machine.add(*before) if before else None
        assert await pair.follower.call("c", "add", "A") == outcome
        answer = pair.of(Answered)[0]
        assert answer.clock == clock_of(pair.machine)


async def test_a_call_without_a_source_was_never_sent() -> None:
    async with Pair() as pair:
        await pair.mux.stop()
        async with asyncio.timeout(PATIENCE_S):
            while pair.client.mach.is_("Ready"):
                await asyncio.sleep(0.005)
        assert await pair.follower.call("c", "add", "A") == "unsent"
    assert not pair.of(Ran)
