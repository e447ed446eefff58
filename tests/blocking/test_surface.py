"""The blocking twins have every name of the asyncio ones, with the same parameters."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from amzmq import Client, Machine, Mux, NetworkMachine, State, blocking
from amzmq.blocking.line import Line
from amzmq.machine.view import MachineView
from amzmq.rpc.blobs.blobstore import BlobStore, Offer
from amzmq.rpc.blobs.offer import Blob
from amzmq.rpc.replica.clock import ReplicaClock
from amzmq.wire.blobs import BlobOffer, BlobReader

# Public among the modules of amzmq.rpc, and not meant for users: what the parts of a client call
# each other by, and what applies a stream to a replica.
INTERNAL = {
    "Client": {
        "aged", "applied", "ask", "beat", "blobs_above", "call", "calls", "conversation", "deliver",
        "deliveries", "end_fetching", "fetch_again", "fetcher", "follower", "following",
        "gave_up", "is_stale", "kind", "misfit", "next_addr", "notify", "renumber", "take_chunk",
        "take_directed", "take_refusal", "tell_stale", "transport", "watch", "watches",
    },
    # `recall` is how a relay has its clients come back after its own source did.
    "Mux": {"recall", "servers"},
    "NetworkMachine": {
        "blobs", "came_from", "follow", "is_listening", "observe_clock", "pass_err",
        "payload_arrived", "read_changes", "schema_changed", "set_groups", "told",
        "unobserve_clock",
    },
    # `offer` is the client's side; `aclose` is `close` where nothing is awaited.
    "PayloadIterator": {"aclose", "end", "offer", "wants"},
    "BlobIterator": {"aclose", "end", "offer", "wants"},
    # What the fetcher tells a blob, and the store an offer.
    "Blob": {"add", "fail", "finish", "reader"},
    "Offer": {"facts", "part", "take", "use"},
}  # fmt: skip


async def _nothing() -> None: ...


async def _offer() -> Offer:
    store = BlobStore()
    offer = store.offer(b"1")
    await store.close()
    return offer


def pairs() -> list[tuple[Any, Any]]:
    """One of each class and of its twin, not started."""
    source = Machine({"A": State()}, id="src")
    client, line = Client("tcp://127.0.0.1:1"), Line("test", _nothing)
    replica = NetworkMachine("rnm", ReplicaClock(source.compiled), "src", client)
    payloads, blobs = client.payloads(), client.blobs()
    blob = Blob("b", BlobReader(b"12345678", BlobOffer(1, 1, b"")), "src", lambda _: None)
    return [
        (client, blocking.Client("tcp://127.0.0.1:1")),
        (Mux(source), blocking.Mux(source)),
        (replica, blocking.NetworkMachine(line, replica)),
        (payloads, blocking.PayloadIterator(line, payloads, None)),
        (blobs, blocking.BlobIterator(line, blobs, None)),
        (blob, blocking.Blob(line, blob)),
        (offer := asyncio.run(_offer()), blocking.Offer(line, offer)),
    ]


PAIRS = pairs()
NAMES = [type(original).__name__ for original, _ in PAIRS]


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.mark.parametrize(("original", "twin"), PAIRS, ids=NAMES)
def test_no_public_name_is_missing(original: object, twin: object) -> None:
    name = type(original).__name__
    assert public(original) - public(twin) - INTERNAL[name] == set()


@pytest.mark.parametrize(("original", "twin"), PAIRS, ids=NAMES)
def test_parameters_are_the_same_and_some_calls_have_a_timeout(
    original: object, twin: object
) -> None:
    for name in sorted(public(original) & public(twin)):
        if callable(getattr(type(original), name, None)):
            ours, theirs = parameters(getattr(twin, name)), parameters(getattr(original, name))
            added = ours.keys() - theirs.keys()
            assert added <= {"timeout"}, name
            assert {key: kind for key, kind in ours.items() if key not in added} == theirs, name


def parameters(function: Callable[..., object]) -> dict[str, tuple[object, object]]:
    found = inspect.signature(function).parameters.values()
    return {one.name: (one.kind, one.default) for one in found}


@pytest.mark.parametrize(
    ("original", "twin"), [(Client, blocking.Client), (Mux, blocking.Mux)], ids=["Client", "Mux"]
)
def test_they_are_made_with_the_same_arguments(original: type, twin: type) -> None:
    assert parameters(twin) == parameters(original)


def test_what_waits_to_be_awaited_never_comes_out_of_a_twin() -> None:
    for _, twin in PAIRS:
        for name in public(twin) - {"aio"}:
            member = getattr(type(twin), name)
            assert not inspect.iscoroutinefunction(member), name


def test_every_read_and_wait_of_a_machine_is_there() -> None:
    assert public(MachineView) <= public(blocking.NetworkMachine)
