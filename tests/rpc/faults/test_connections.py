"""Faults 18, 19, 22, 28, 33, 34: who is there, who may come, and how one parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amzmq.errors import NoAccess, NotConnected, Refused, RpcError, SchemaMismatch
from amzmq.machine import Result, State, Tracer
from amzmq.net import RandomFaults
from amzmq.rpc import Client, Mux
from amzmq.rpc.server.admission import ServerRequest
from amzmq.rpc.server.server import Server

from ..rig import World, is_level, level, machine, soon, turns, until
from .tampering import PATIENT


class Errors(Tracer):
    """Every error state that a machine had, however short."""

    id = "errors"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def transition_end(self, tx: Any) -> None:
        if tx.is_accepted:
            self.seen += [name for name in tx.called if name.startswith(("Err", "Exception"))]


def errors_of(part: Client | Mux | Server) -> list[str]:
    errors = Errors()
    part.mach.bind_tracer(errors)
    return errors.seen


async def test_fault_18_clients_of_one_source_do_not_disturb_each_other(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    clients = [await world.follow(f"c{n}") for n in range(4)]
    for client in clients:
        assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED
    mux.source.add("A")
    await level(mux.source, *clients)
    assert [client.mach.tick("Ready") for client in clients] == [1] * 4
    assert [client.metrics()["resyncs"] for client in clients] == [0] * 4
    assert len(mux.clients) == 4


async def test_fault_18_two_clients_of_one_name_are_two_clients(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    one, other = await world.follow("same"), await world.follow("same")
    await soon(one.net_mach.add("A"))
    await soon(other.net_mach.add("B"))
    await level(mux.source, one, other)
    assert [client.mach.tick("Ready") for client in (one, other)] == [1, 1]
    assert len(mux.servers) == 2


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], type[RpcError]]] = {
    "not allowed": ({"allow_ids": ["rc-other"]}, {}, NoAccess),
    "no such machine": ({}, {"machine": "other"}, Refused),
    "no such state": ({}, {"allowed_states": ["Wrong"]}, SchemaMismatch),
    "another schema": ({}, {"schema": {"Wrong": State()}}, SchemaMismatch),
}


@pytest.mark.parametrize("why", REFUSALS)
async def test_fault_19_a_refusal_is_final_and_says_why(world: World, why: str) -> None:
    serving, following, error = REFUSALS[why]
    mux = await world.serve(**serving)
    client = world.client(**following)
    client.start()
    with pytest.raises(error):
        await soon(client.ready())
    await turns(50)
    assert mux.counters.hellos == 1
    assert client.mach.is_("ConnRetryFailed")
    assert client.mach.not_("Start", "Handshaking", "RetryingConn", "Connected")
    assert client.mach.tick("ErrRpc") == 2


async def test_fault_22_has_clients_holds_until_the_last_one_went(world: World) -> None:
    mux = await world.serve()
    clients = [await world.follow() for _ in range(3)]
    for left in (2, 1, 0):
        assert mux.mach.is_("HasClients")
        await clients.pop().stop()
        await until(lambda left=left: len(mux.clients) == left)
    assert mux.mach.not_("HasClients")
    assert mux.mach.tick("HasClients") == 2


async def test_fault_22_a_factory_that_fails_is_seen_at_both_ends(world: World) -> None:
    def new_server(request: ServerRequest) -> Server:
        raise ValueError("no room")

    mux = await world.serve(new_server=new_server)
    client = world.client("one")
    client.start()
    with pytest.raises(NoAccess, match="no server could be made for rc-one"):
        await soon(client.ready())
    await turns(50)
    assert mux.counters.hellos == 1
    assert mux.mach.is_("NewServerErr", "Ready")
    assert str(mux.new_server_err) == "no room"
    assert mux.mach.not_("HasClients")


async def test_fault_22_a_mux_that_stopped_is_quiet_and_serves_nobody(world: World) -> None:
    source = machine()
    mux = await world.serve(source, heartbeat=PATIENT)
    client = await world.follow()
    errors = errors_of(mux)
    await mux.stop()
    await until(lambda: client.mach.not_("Ready"))
    before = source.queue_tick
    with pytest.raises(NotConnected):
        await soon(client.net_mach.add("A"))
    await until(lambda: client.mach.is_("RetryingConn"))
    assert source.queue_tick == before
    assert errors == []
    assert mux.mach.is_disposed
    assert not world.network.routers
    assert not world.network.publishers


async def test_fault_28_a_source_that_is_mute_is_noticed(world: World) -> None:
    await world.serve(heartbeat=0.03)
    client = await world.follow()
    heard = client.last_msg_at
    await until(lambda: client.last_msg_at > heard)
    world.network.control_fault = world.network.feed_fault = RandomFaults(0, drop=1.0)
    await until(lambda: client.mach.not_("Ready"))
    assert "was silent for" in str(client.mach.err())
    assert client.mach.tick("ErrNetwork") == 2


async def test_fault_28_a_client_that_is_mute_is_noticed(world: World) -> None:
    mux = await world.serve(heartbeat=0.03)
    client = await world.follow("mute")
    assert client._connection is not None
    client._connection.send = lambda message: True  # type: ignore[method-assign]
    await until(lambda: not mux.clients)
    assert mux.counters.expired == 1
    assert mux.mach.not_("HasClients")


async def test_fault_33_to_part_is_no_error(world: World) -> None:
    mux = await world.serve(heartbeat=PATIENT)
    client, other = await world.follow("one"), await world.follow("other")
    servers = mux.servers
    errors = [errors_of(part) for part in (client, other, mux, *servers)]
    await client.stop()
    await until(lambda: len(mux.clients) == 1)
    await mux.stop()
    # Who is left behind by its source has lost its connection, and is the only one to say so.
    assert errors[1][:1] == ["ErrNetwork"]
    del errors[1]
    assert errors == [[]] * 4


async def test_fault_33_an_error_that_passes_can_be_seen_and_waited_for(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    wait = client.mach.when_err()
    told: list[str] = []
    client.mach.bind({"ErrNetworkState": lambda e: told.append(str(e.error))})
    await mux.stop()
    await soon(wait)
    assert "said goodbye: the source stops" in told[0]
    assert str(client.mach.err()) in told
    assert client.mach.not_("Exception", "ErrNetwork")
    assert client.mach.tick("ErrNetwork") == 2 * len(told)


STOPS: dict[str, Callable[[Mux, Client], Any]] = {
    "client": lambda mux, client: client.stop(),
    "mux": lambda mux, client: mux.stop(),
}


@pytest.mark.parametrize("who", STOPS)
async def test_fault_34_who_stops_says_so_and_the_machine_of_the_source_lives_on(
    world: World, who: str
) -> None:
    source = machine()
    mux = await world.serve(source, heartbeat=PATIENT)
    client = await world.follow("one", disconn_cooldown=0.01)
    (server,) = mux.servers
    await soon(STOPS[who](mux, client))
    await until(lambda: server.mach.is_disposed)
    if who == "mux":
        assert "said goodbye: the source stops" in str(client.mach.err())
        assert client.mach.is_("Start")  # it tries again
    else:
        assert client.mach.is_disposed
        assert client.net_mach.is_disposed
        await until(lambda: mux.mach.not_("HasClients"))
        assert mux.mach.is_("Ready")
    assert source.add("A") == Result.EXECUTED
    assert not source.is_disposed


async def test_fault_34_a_client_follows_the_next_source_after_the_goodbye_of_one(
    world: World,
) -> None:
    first = await world.serve(heartbeat=PATIENT)
    client = await world.follow()
    await first.stop()
    again = await world.serve(machine(), heartbeat=PATIENT)
    again.source.add("A")
    await level(again.source, client)
    assert is_level(client, again.source)
