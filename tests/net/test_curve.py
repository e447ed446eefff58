"""Who gets in where CURVE is demanded, and who does not."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
import zmq

from amzmq.net import Delivery, MemoryNetwork, ZmqTransport
from amzmq.net.authenticator import AnyKey
from amzmq.net.keys import Keys
from amzmq.net.zap import ENDPOINT

from .curve_rig import (
    ALICE,
    BOB,
    EVE,
    LOCAL,
    OPTIONS,
    SERVER,
    TOPIC,
    Hosts,
    Tap,
    Visitor,
    all_of,
    said,
    shut_out,
)
from .rig import Ends, until

# Who gets in.


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
async def test_a_known_key_is_heard_answered_and_fed_under_its_name(
    hosts: Hosts, allowed: Path, ipc_dir: str, kind: str
) -> None:
    source = hosts.source(allowed, LOCAL if kind == "tcp" else f"ipc://{ipc_dir}/a")
    alice = Visitor(hosts.client(ALICE), source)
    await alice.visit(source)
    assert source.users() == {"alice"}
    await Visitor(hosts.client(BOB), source).visit(source)
    assert source.users() == {"alice", "bob"}
    assert set(source.askers) == {"alice", "bob"}
    assert source.publisher.asker == ""
    assert source.transport.counts.accepted == 4
    assert source.transport.counts.refused == source.transport.counts.ended == 0


async def test_what_travels_can_be_neither_read_nor_changed_on_the_way(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    async with Tap(source.router.endpoint) as tap:
        client, ends = hosts.client(ALICE), Ends()
        dealer = client.dealer(tap.endpoint, ends.on_message, ends.edges.append)
        await said(dealer)
        await until(lambda: ends.at_dealer)
        assert b"CURVE" in tap.seen
        assert b"hello" not in tap.seen
        assert b"welcome" not in tap.seen
        assert ALICE.public.encode() not in tap.seen
        tap.changes = True
        assert dealer.send(b"another word")
        await until(lambda: not dealer.connected)
        tap.changes = False
        await said(dealer)
        await until(lambda: len(ends.at_dealer) == 2)
        assert [frame for _, frame, _ in source.ends.at_router] == [b"hello", b"hello"]
        await client.close()


async def test_a_function_names_the_users(hosts: Hosts) -> None:
    names: dict[str, bool | str] = {ALICE.public: "alice", BOB.public: True}
    source = hosts.source(lambda key: names.get(key, False))
    for keys in (ALICE, BOB):
        await Visitor(hosts.client(keys), source).visit(source)
    assert source.users() == {"alice", BOB.public}


async def test_any_key_is_let_in_where_that_is_said(hosts: Hosts) -> None:
    source = hosts.source(AnyKey())
    await Visitor(hosts.client(EVE), source).visit(source)
    assert source.users() == {EVE.public}


async def test_a_client_without_keys_of_its_own_takes_new_ones(hosts: Hosts) -> None:
    source = hosts.source(AnyKey())
    await Visitor(hosts.client(None), source).visit(source)
    (user,) = source.users()
    assert len(user) == 40


async def test_two_sources_of_one_process_know_different_keys(hosts: Hosts) -> None:
    for_alice = hosts.source(lambda key: key == ALICE.public)
    for_bob = hosts.source(lambda key: key == BOB.public)
    alice, bob = hosts.client(ALICE), hosts.client(BOB)
    await Visitor(alice, for_alice).visit(for_alice)
    await Visitor(bob, for_bob).visit(for_bob)
    dealer = bob.dealer(for_alice.router.endpoint, Ends().on_message, Ends().edges.append)
    await until(lambda: for_alice.transport.counts.refused)
    assert not dealer.connected
    assert for_bob.transport.counts.refused == 0


# Who does not.


async def test_an_unknown_key_gets_nothing(hosts: Hosts, allowed: Path) -> None:
    source = hosts.source(allowed)
    await shut_out(source, hosts.client(EVE), lambda: source.transport.counts.refused)
    assert source.transport.counts.accepted == 0


async def test_a_peer_without_curve_gets_nothing(hosts: Hosts, allowed: Path) -> None:
    source = hosts.source(allowed)
    await shut_out(source, hosts.client(None, None), source.turned_away)
    assert source.transport.counts.accepted == 0


async def test_a_peer_that_expects_another_source_gets_nothing(hosts: Hosts, allowed: Path) -> None:
    source = hosts.source(allowed)
    await shut_out(source, hosts.client(ALICE, server=EVE), source.turned_away)
    assert source.transport.counts.accepted == 0


async def test_a_client_tells_nothing_to_a_source_without_curve(hosts: Hosts) -> None:
    open_source = ZmqTransport(OPTIONS)
    hosts.made.append(open_source)
    ends, mine = Ends(), Ends()
    router = open_source.router(LOCAL, ends.on_peer)
    with socket.create_server(("127.0.0.1", 0)) as waiting:
        waiting.settimeout(10)
        hosts.client(ALICE).dealer(router.endpoint, mine.on_message, mine.edges.append)
        # A second, of which the greeting can be seen, to know that there was time enough.
        port = waiting.getsockname()[1]
        hosts.client(ALICE).dealer(f"tcp://127.0.0.1:{port}", mine.on_message, mine.edges.append)
        connection, _ = await asyncio.to_thread(waiting.accept)
        with connection:
            connection.settimeout(10)
            greeting = await asyncio.to_thread(connection.recv, 64)
    assert greeting.startswith(b"\xff")
    assert mine.edges == []
    assert ends.at_router == []


async def test_bytes_that_are_not_zeromq_get_nothing_and_others_still_do(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    for endpoint in (source.router.endpoint, source.publisher.endpoint):
        _, _, port = endpoint.rpartition(":")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(2000))
        async with asyncio.timeout(10):
            assert b"welcome" not in await all_of(reader)
        writer.close()
    await Visitor(hosts.client(ALICE), source).visit(source)


@pytest.mark.parametrize("answer", [None, "", 1, "no name", "*", b"alice"])
async def test_a_function_that_says_no_or_nonsense_refuses(hosts: Hosts, answer: object) -> None:
    source = hosts.source(lambda key: answer)  # type: ignore[arg-type, return-value]
    await shut_out(source, hosts.client(EVE), lambda: source.transport.counts.refused)


async def test_a_function_that_raises_refuses(
    hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(key: str) -> bool:
        raise LookupError("the database is away")

    source = hosts.source(ask)
    await shut_out(source, hosts.client(EVE), lambda: source.transport.counts.refused)
    assert "the database is away" in caplog.text


async def test_nobody_gets_in_when_nobody_can_be_asked(hosts: Hosts, allowed: Path) -> None:
    source = hosts.source(allowed)
    for sock in tuple(source.transport._open):
        if sock.kind == "zap":
            sock.close()
    await shut_out(source, hosts.client(ALICE), source.turned_away)


async def test_the_id_of_somebody_who_left_is_not_to_be_had(hosts: Hosts, allowed: Path) -> None:
    source = hosts.source(allowed)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def dealer(keys: Keys) -> zmq.Socket[bytes]:
        made = context.socket(zmq.DEALER)
        made.linger = 0
        made.routing_id = b"\0mine"  # a router gives out such ids itself
        made.curve_serverkey = SERVER.public.encode()
        made.curve_publickey = keys.public.encode()
        made.curve_secretkey = keys.secret.encode()
        made.connect(source.router.endpoint)
        made.send(b"hello")
        return made

    def has_left() -> bool:
        try:
            source.router._sock.send_multipart([b"\0mine", b""], zmq.NOBLOCK)
        except zmq.ZMQError:
            return True
        finally:
            source.router._drain_soon()  # as the sending may have swallowed news
        return False

    with dealer(ALICE):
        await until(lambda: source.users() == {"alice"})
    # Asked of libzmq itself, which ignores a second peer of the same id.
    await until(has_left)
    with dealer(BOB):
        await until(lambda: source.transport.counts.rejected)
        assert source.transport.counts.ended == 1
    assert source.users() == {"alice"}
    context.term()


# The same seam in memory.


async def test_memory_knows_users_and_ends_them() -> None:
    network = MemoryNetwork()
    source, ends, askers = network.transport(), Ends(allowed={TOPIC}), list[str]()
    router = source.router("mem://a", ends.on_peer)

    def on_subscribe(topic: bytes) -> bool:
        askers.append(publisher.asker)
        return True

    publisher = source.publisher("mem://f", on_subscribe, ends.ended.append, ends.garbage.append)
    alice, bob = Ends(), Ends()
    for user, at in (("alice", alice), ("bob", bob)):
        transport = network.transport(user)
        dealer = transport.dealer("mem://a", at.on_message, at.edges.append)
        subscriber = transport.subscriber("mem://f", at.frames.extend)
        subscriber.subscribe(TOPIC)
        await said(dealer)
    await until(lambda: len(ends.at_router) == len(askers) == 2)
    peers = [peer for peer, _, _ in ends.at_router]
    assert [router.user_of(peer) for peer in peers] == askers == ["alice", "bob"]
    assert publisher.asker == ""

    network.refuse("alice", True)
    await until(lambda: alice.edges == [True, False] and ends.ended == [TOPIC])
    publisher.send(TOPIC)
    await until(lambda: bob.frames == [TOPIC])
    assert alice.frames == []
    assert router.user_of(peers[0]) == ""
    assert router.send(peers[0], b"late") is Delivery.GONE

    network.refuse("alice", False)
    await until(lambda: alice.edges == [True, False, True] and len(askers) == 3)
    assert source.end_user("bob") == 2
    await until(lambda: bob.edges == [True, False])


def test_the_place_where_libzmq_asks_is_the_one_of_rfc_27() -> None:
    assert ENDPOINT == "inproc://zeromq.zap.01"
