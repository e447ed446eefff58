"""Who has to leave where CURVE is demanded, at once, and who may come back."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

from amzmq.net import Delivery
from amzmq.net.authenticator import KeyCallback
from amzmq.net.gate import Wire

from .curve_rig import (
    ALICE,
    BOB,
    EVE,
    TOPIC,
    Hosts,
    Visitor,
    allow,
    said,
)
from .rig import Ends, until


async def test_a_revoked_key_loses_its_connections_and_others_keep_theirs(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    alice, bob = (Visitor(hosts.client(keys), source) for keys in (ALICE, BOB))
    await alice.visit(source)
    await bob.visit(source)
    peers = {source.router.user_of(peer): peer for peer, _, _ in source.ends.at_router}
    (allowed / "alice.pub").unlink()
    await until(lambda: source.transport.counts.ended == 2)
    await until(lambda: not alice.dealer.connected)
    await until(lambda: source.ends.ended == [TOPIC])
    heard = len(alice.ends.frames)
    refused = source.transport.counts.refused
    assert source.router.user_of(peers["alice"]) == ""
    assert source.router.send(peers["alice"], b"late") is Delivery.GONE
    await until(lambda: source.transport.counts.refused >= refused + 2)
    await bob.is_fed(source)
    assert source.router.send(peers["bob"], b"still here") is Delivery.SENT
    assert len(alice.ends.frames) == heard
    assert bob.ends.edges == [True]


async def test_a_key_that_is_allowed_again_comes_back_by_itself(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    alice = Visitor(hosts.client(ALICE), source)
    await alice.visit(source)
    (allowed / "alice.pub").unlink()
    await until(lambda: source.transport.counts.refused >= 2)
    allow(allowed, "alice", ALICE)
    alice.ends.at_dealer.clear()
    await alice.visit(source)


async def test_a_key_that_is_added_is_let_in_without_a_restart(hosts: Hosts, allowed: Path) -> None:
    source = hosts.source(allowed)
    eve = Visitor(hosts.client(EVE), source)
    await until(lambda: source.transport.counts.refused >= 2)
    allow(allowed, "eve", EVE)
    await eve.visit(source)
    assert source.users() == {"eve"}


async def test_a_new_name_of_a_key_counts_from_a_new_connection_on(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    alice = Visitor(hosts.client(ALICE), source)
    await alice.visit(source)
    source.ends.at_router.clear()
    (allowed / "alice.pub").rename(allowed / "alicia.pub")
    await until(lambda: source.transport.counts.ended == 2)
    await until(lambda: not alice.dealer.connected)
    await alice.visit(source)
    assert source.users() == {"alicia"}


async def test_a_function_that_changed_its_mind_is_asked_again(hosts: Hosts) -> None:
    names: dict[str, bool | str] = {ALICE.public: "alice"}
    authenticator = KeyCallback(lambda key: names.get(key, False))
    source = hosts.source(authenticator)
    alice = Visitor(hosts.client(ALICE), source)
    await alice.visit(source)
    names.clear()
    authenticator.changed()
    await until(lambda: not alice.dealer.connected)
    assert source.transport.counts.ended == 2


async def test_what_a_revoked_key_sent_before_it_was_ended_is_not_heard(hosts: Hosts) -> None:
    names: dict[str, bool | str] = {ALICE.public: "alice"}
    source = hosts.source(lambda key: names.get(key, False))
    alice = Visitor(hosts.client(ALICE), source)
    await until(lambda: alice.dealer.connected)
    names.clear()
    # Let in, and never heard of: nobody knows that this connection is there until it speaks.
    assert alice.dealer.send(b"hello")
    await until(lambda: source.transport.counts.rejected)
    await until(lambda: not alice.dealer.connected)
    assert source.ends.at_router == []


async def test_a_user_whose_connections_are_ended_may_come_back(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    alice, bob = (Visitor(hosts.client(keys), source) for keys in (ALICE, BOB))
    await alice.visit(source)
    await bob.visit(source)
    assert source.transport.end_user("nobody") == 0
    assert source.transport.end_user("alice") == 2
    await until(lambda: alice.ends.edges == [True, False])
    alice.ends.at_dealer.clear()
    await alice.visit(source)
    assert bob.ends.edges == [True]


async def test_a_reconnecting_user_leaves_nothing_behind_that_grows(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    client = hosts.client(ALICE)
    for count in range(1, 201):
        ends = Ends()
        dealer = client.dealer(source.router.endpoint, ends.on_message, ends.edges.append)
        await said(dealer)
        await until(partial(source.has_heard, count))
        dealer.close()
    assert source.router.gate is not None
    assert len(source.router.gate._seats) <= 128


def test_a_descriptor_that_is_somebody_elses_by_now_is_not_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        mine = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        with mine, theirs:
            wire = Wire(theirs.fileno(), os.fstat(theirs.fileno()).st_ino)
            assert not replace(wire, inode=wire.inode + 1).cut(endpoint)
            assert not replace(wire, inode=0).cut(endpoint)
            assert not wire.cut("tcp://127.0.0.1:1")
            assert not Wire(mine.fileno(), os.fstat(mine.fileno()).st_ino).cut(endpoint)
            mine.sendall(b"still there")
            assert theirs.recv(100) == b"still there"
            assert wire.cut(endpoint)
            assert mine.recv(100) == b""
        assert not wire.cut(endpoint)
