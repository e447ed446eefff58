"""Who gets in where CURVE is demanded, who does not, and who has to leave."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import zmq

from amzmq.errors import AddressInvalid
from amzmq.net import Dealer, Delivery, MemoryNetwork, ZmqTransport
from amzmq.net.authenticator import AnyKey, AuthenticatorLike, KeyCallback, KeyDirectory
from amzmq.net.curve import Insecure, is_local
from amzmq.net.gate import Wire
from amzmq.net.keys import KeyFileError, KeyInvalid, Keys
from amzmq.net.zap import ENDPOINT
from amzmq.net.zmq_conversation import ZmqRouter
from amzmq.net.zmq_feed import ZmqPublisher

from .conftest import PATIENCE_S, QUICK, Ends, until

OPTIONS = replace(QUICK, recheck_ms=10, handshake_ms=300)
SERVER, ALICE, BOB, EVE = (Keys.generate() for _ in range(4))
TOPIC = b"stream-1"
LOCAL = "tcp://127.0.0.1:*"


@dataclass
class Source:
    """A secured router and publisher, and what they were told."""

    transport: ZmqTransport
    router: ZmqRouter
    publisher: ZmqPublisher
    ends: Ends
    askers: list[str]

    def has_heard(self, count: int) -> bool:
        return len(self.ends.at_router) == count

    def users(self) -> set[str]:
        return {self.router.user_of(peer) for peer, _, _ in self.ends.at_router}


class Hosts:
    """Makes transports, and closes them at the end of the test."""

    def __init__(self) -> None:
        self.made: list[ZmqTransport] = []

    def client(self, keys: Keys | None, server: Keys | None = SERVER) -> ZmqTransport:
        server_key = None if server is None else server.public
        self.made.append(ZmqTransport(OPTIONS, curve=keys, server_key=server_key))
        return self.made[-1]

    def source(self, authenticator: AuthenticatorLike, address: str = LOCAL) -> Source:
        transport = ZmqTransport(OPTIONS, curve=SERVER, authenticator=authenticator)
        self.made.append(transport)
        ends, askers = Ends(allowed={TOPIC}), list[str]()

        def on_subscribe(topic: bytes) -> bool:
            askers.append(publisher.asker)
            return ends.on_subscribe(topic)

        def on_peer(peer: bytes, frame: bytes, blobs: Sequence[bytes]) -> None:
            ends.on_peer(peer, frame, blobs)
            router.send(peer, b"welcome")

        router = transport.router(address, on_peer)
        feed = address.replace("/a", "/feed") if address.startswith("ipc") else LOCAL
        publisher = transport.publisher(feed, on_subscribe, ends.ended.append, ends.garbage.append)
        return Source(transport, router, publisher, ends, askers)


class Visitor:
    """A dealer and a subscriber that use one transport."""

    def __init__(self, transport: ZmqTransport, source: Source) -> None:
        self.ends = Ends()
        self.dealer = transport.dealer(
            source.router.endpoint, self.ends.on_message, self.ends.edges.append
        )
        self.subscriber = transport.subscriber(source.publisher.endpoint, self.ends.frames.extend)
        self.subscriber.subscribe(TOPIC)

    async def visit(self, source: Source) -> None:
        """Is heard, answered, and fed."""
        await until(lambda: self.dealer.connected and self.dealer.send(b"hello"))
        await until(lambda: self.ends.at_dealer)
        await self.is_fed(source)

    async def is_fed(self, source: Source) -> None:
        seen = len(self.ends.frames)

        def fed() -> bool:
            source.publisher.send(TOPIC + b"!")
            return len(self.ends.frames) > seen

        await until(fed)


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


def allow(folder: Path, name: str, keys: Keys) -> Path:
    path = folder / f"{name}.pub"
    path.write_text(keys.public)
    return path


async def shut_out(source: Source, transport: ZmqTransport, count: Callable[[], int]) -> None:
    """Lets a visitor knock, at both sockets, until `count` grew by two; he gets nothing."""
    before = count()
    visitor = Visitor(transport, source)
    await until(lambda: count() >= before + 2)
    assert not visitor.dealer.connected
    assert not visitor.dealer.send(b"hello")
    source.publisher.send(TOPIC + b"!")
    assert visitor.ends == Ends()
    assert source.ends.at_router == []
    assert source.ends.asked == []


async def said(dealer: Dealer) -> None:
    """Connects, and says hello."""
    await until(lambda: dealer.connected and dealer.send(b"hello"))


async def all_of(
    reader: asyncio.StreamReader, also: Callable[[bytes], object] = lambda data: None
) -> bytes:
    """Reads until the peer hangs up, politely or not."""
    read = b""
    while True:
        try:
            data = await reader.read(65536)
        except ConnectionError:
            return read
        if not data:
            return read
        also(data)
        read += data


class Tap:
    """Somebody on the way who notes all bytes, and changes one in each piece if `changes`."""

    def __init__(self, endpoint: str) -> None:
        _, _, self.target = endpoint.rpartition(":")
        self.seen = bytearray()
        self.changes = False
        self.connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Tap:
        self.server = await asyncio.start_server(self.on_connection, "127.0.0.1", 0)
        self.endpoint = f"tcp://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        async with asyncio.timeout(PATIENCE_S):
            await self.server.wait_closed()
            await asyncio.gather(*self.connections)

    async def on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        there, on = await asyncio.open_connection("127.0.0.1", int(self.target))
        async with asyncio.TaskGroup() as both:
            both.create_task(self.relay(reader, on))
            both.create_task(self.relay(there, writer))

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def pass_on(data: bytes) -> None:
            self.seen.extend(data)
            writer.write(data[:-1] + bytes([data[-1] ^ 1]) if self.changes else data)

        await all_of(reader, pass_on)
        writer.close()


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


async def test_a_peer_without_curve_gets_nothing(
    hosts: Hosts, allowed: Path, failed_handshakes: Callable[[Source], Callable[[], int]]
) -> None:
    source = hosts.source(allowed)
    await shut_out(source, hosts.client(None, None), failed_handshakes(source))
    assert source.transport.counts.accepted == 0


async def test_a_peer_that_expects_another_source_gets_nothing(
    hosts: Hosts, allowed: Path, failed_handshakes: Callable[[Source], Callable[[], int]]
) -> None:
    source = hosts.source(allowed)
    await shut_out(source, hosts.client(ALICE, server=EVE), failed_handshakes(source))
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


async def test_nobody_gets_in_when_nobody_can_be_asked(
    hosts: Hosts, allowed: Path, failed_handshakes: Callable[[Source], Callable[[], int]]
) -> None:
    source = hosts.source(allowed)
    for sock in tuple(source.transport._open):
        if sock.kind == "zap":
            sock.close()
    await shut_out(source, hosts.client(ALICE), failed_handshakes(source))


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


# Who has to leave.


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


# The directory of keys.


def test_a_directory_is_refused_while_a_file_in_it_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nowhere.*No such file.*\*\.pub"):
        KeyDirectory(tmp_path / "nowhere")
    allow(tmp_path, "alice", ALICE)
    (tmp_path / "bob.pub").write_text("no key")
    with pytest.raises(KeyInvalid, match=r"bob\.pub"):
        KeyDirectory(tmp_path)
    allow(tmp_path, "bob", ALICE)
    with pytest.raises(KeyFileError, match=r"bob\.pub.*user 'alice'.*remove one"):
        KeyDirectory(tmp_path)
    (tmp_path / "bob.pub").rename(tmp_path / "*.pub")
    with pytest.raises(KeyFileError, match="no user name"):
        KeyDirectory(tmp_path)


def test_a_file_that_becomes_wrong_shuts_its_user_out(
    allowed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyDirectory(allowed)
    assert not keys.reload()
    (allowed / "alice.pub").write_text("no key")
    assert keys.reload()
    assert keys.user(ALICE.public) == ""
    assert keys.user(BOB.public) == "bob"
    assert "alice.pub" in caplog.text
    (allowed / "README").write_text("of no importance")
    assert not keys.reload()


def test_a_directory_that_cannot_be_read_changes_nothing(
    allowed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyDirectory(allowed)
    allowed.rename(allowed.with_name("elsewhere"))
    assert not keys.reload()
    assert not keys.reload()
    assert keys.user(ALICE.public) == "alice"
    assert caplog.text.count("those known so far stay") == 1
    allowed.mkdir()
    assert keys.reload()
    assert keys.user(ALICE.public) == ""


# What is not opened.


@pytest.mark.parametrize(
    "endpoint", ["tcp://*:0", "tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://eth0:0", "tcp://0:0"]
)
async def test_an_address_that_others_reach_is_not_bound_without_curve(endpoint: str) -> None:
    net = ZmqTransport(OPTIONS)
    with pytest.raises(Insecure, match=r"curve= and authenticator=.*insecure=True"):
        net.router(endpoint, Ends().on_peer)
    with pytest.raises(Insecure, match="whoever reaches"):
        net.publisher(endpoint, Ends().on_subscribe, Ends().ended.append, Ends().garbage.append)
    await net.close()


async def test_an_address_that_others_reach_is_bound_when_that_is_meant(
    hosts: Hosts, allowed: Path
) -> None:
    bare = ZmqTransport(OPTIONS, insecure=True)
    hosts.made.append(bare)
    assert bare.router("tcp://0.0.0.0:*", Ends().on_peer).endpoint.startswith("tcp://0.0.0.0:")
    assert hosts.source(allowed, "tcp://0.0.0.0:*").router.endpoint.startswith("tcp://0.0.0.0:")


def test_this_host_is_told_from_others() -> None:
    local = ["tcp://127.0.0.1:1", "tcp://127.9.9.9:*", "tcp://[::1]:1", "tcp://localhost:0"]
    assert all(map(is_local, [*local, "tcp://lo:1", "ipc:///run/a", "ipc://@a", "inproc://a"]))
    remote = ["tcp://10.0.0.1:1", "tcp://*:4000x", "tcp://[fe80::1]:1", "ws://127.0.0.1:1"]
    assert not any(map(is_local, [*remote, "tcp://127.0.0.1.example.org:1", "tcp://eth0:1"]))


async def test_where_curve_is_required_nothing_else_is_opened(hosts: Hosts) -> None:
    net = ZmqTransport(OPTIONS, curve_required=True)
    hosts.made.append(net)
    with pytest.raises(Insecure, match="every socket"):
        net.router(LOCAL, Ends().on_peer)
    with pytest.raises(Insecure, match="server_key="):
        net.dealer("tcp://127.0.0.1:1", Ends().on_message, Ends().edges.append)
    with pytest.raises(Insecure, match="server_key="):
        net.subscriber("tcp://127.0.0.1:1", Ends().frames.extend)


async def test_half_a_configuration_opens_nothing(hosts: Hosts, allowed: Path) -> None:
    keys_only = ZmqTransport(OPTIONS, curve=ALICE)
    authenticator_only = ZmqTransport(OPTIONS, authenticator=allowed)
    hosts.made.extend([keys_only, authenticator_only])
    with pytest.raises(Insecure, match="authenticator="):
        keys_only.router(LOCAL, Ends().on_peer)
    with pytest.raises(Insecure, match="server_key="):
        keys_only.dealer("tcp://127.0.0.1:1", Ends().on_message, Ends().edges.append)
    with pytest.raises(Insecure, match="curve=Keys"):
        authenticator_only.router(LOCAL, Ends().on_peer)


async def test_inproc_cannot_be_secured(hosts: Hosts, allowed: Path) -> None:
    with pytest.raises(AddressInvalid, match="no CURVE"):
        hosts.source(allowed, "inproc://a")
    with pytest.raises(AddressInvalid, match="no CURVE"):
        hosts.client(ALICE).subscriber("inproc://a", Ends().frames.extend)


async def test_an_address_in_use_leaves_the_transport_fit_for_another(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    with pytest.raises(Exception, match="in use"):
        source.transport.router(source.router.endpoint, Ends().on_peer)
    second = source.transport.router(LOCAL, source.ends.on_peer)
    dealer = hosts.client(ALICE).dealer(second.endpoint, Ends().on_message, Ends().edges.append)
    await said(dealer)
    await until(lambda: source.ends.at_router)


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


def test_the_place_where_libzmq_asks_is_the_one_of_rfc_27() -> None:
    assert ENDPOINT == "inproc://zeromq.zap.01"
