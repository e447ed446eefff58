"""What only real sockets can get wrong: edges, budgets, strangers, descriptors, forks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import pytest
import zmq

from amzmq.errors import AddressInUse, AddressInvalid, ForkedError, FrameTooLarge, NetError
from amzmq.net import Delivery, ZmqTransport, zmq_socket
from amzmq.net import context as net_context

from .conftest import PATIENCE_S, QUICK, Ends, until

LOCAL = "tcp://127.0.0.1:*"


@pytest.fixture
async def net() -> AsyncIterator[ZmqTransport]:
    made = ZmqTransport(QUICK)
    yield made
    await made.close()


class Strangers:
    """Sockets that do not play by our rules, held until the test is over."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sockets: list[zmq.Socket[bytes]] = []

    def socket(self, kind: zmq.SocketType) -> zmq.Socket[bytes]:
        self.sockets.append(self.context.socket(kind))
        return self.sockets[-1]


@pytest.fixture
def raw() -> Iterator[Strangers]:
    made = Strangers()
    yield made
    for sock in made.sockets:
        sock.close(0)
    made.context.term()


async def test_a_burst_both_ways_while_sending_loses_nothing(ends: Ends) -> None:
    # Each side sends inside its receive callback, which is what swallows the descriptor's edge.
    count = 10_000
    net = ZmqTransport(replace(QUICK, send_hwm=0, receive_hwm=0))
    back = 0

    def on_peer(peer: bytes, frame: bytes, blobs: Sequence[bytes]) -> None:
        ends.at_router.append((peer, frame, ()))
        assert router.send(peer, frame) is Delivery.SENT

    def on_message(frame: bytes, blobs: Sequence[bytes]) -> None:
        nonlocal back
        assert frame == b"%d" % back
        back += 1
        if back % 100 == 0:
            assert dealer.send(b"extra")

    router = net.router(LOCAL, on_peer)
    dealer = net.dealer(router.endpoint, on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    for n in range(count):
        assert dealer.send(b"%d" % n)
        if n % 1000 == 0:
            await asyncio.sleep(0)
    await until(lambda: back == count)
    assert [f for _, f, _ in ends.at_router if f != b"extra"] == [b"%d" % n for n in range(count)]
    assert ends.edges == [True]
    await net.close()


async def test_a_question_in_the_receive_callback_is_answered_every_time(
    net: ZmqTransport, ends: Ends
) -> None:
    # One message at a time: each missed edge would stop this for good.
    rounds = 0
    done = asyncio.Event()

    def on_message(frame: bytes, blobs: Sequence[bytes]) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2000:
            done.set()
        else:
            dealer.send(b"ping")

    router = net.router(LOCAL, lambda peer, frame, blobs: router.send(peer, b"pong") and None)
    dealer = net.dealer(router.endpoint, on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    dealer.send(b"ping")
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()


async def test_a_flood_leaves_turns_to_the_rest_of_the_loop(net: ZmqTransport, ends: Ends) -> None:
    count = 5000
    turns_seen: list[int] = []
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(turns_seen) < count:
            loop.call_soon(turn)

    router = net.router(LOCAL, lambda peer, frame, blobs: turns_seen.append(turns))
    dealer = net.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    loop = asyncio.get_running_loop()
    loop.call_soon(turn)
    for _ in range(count):
        assert dealer.send(b"x")
    await until(lambda: len(turns_seen) == count)
    # No single turn read more than the budget, give or take the last burst.
    most = max(turns_seen.count(n) for n in set(turns_seen))
    # Twice: a turn may hold both a scheduled look and the descriptor's own.
    assert most <= 2 * (zmq_socket.BUDGET_MESSAGES + zmq_socket.BURST)
    assert len(set(turns_seen)) >= count // (2 * (zmq_socket.BUDGET_MESSAGES + zmq_socket.BURST))


async def test_a_peer_that_does_not_read_is_full_and_others_are_not(
    raw: Strangers, ends: Ends
) -> None:
    net = ZmqTransport(
        replace(QUICK, send_hwm=5, send_buffer_bytes=4096, receive_buffer_bytes=4096)
    )
    router = net.router(LOCAL, ends.on_peer)
    lazy = raw.socket(zmq.DEALER)
    lazy.setsockopt(zmq.RCVHWM, 1)
    lazy.setsockopt(zmq.RCVBUF, 4096)
    lazy.connect(router.endpoint)
    lazy.send(b"hello")
    await until(lambda: ends.at_router)
    peer = ends.at_router[0][0]
    big = bytes(200_000)
    seen = {router.send(peer, big) for _ in range(200)}
    assert seen == {Delivery.SENT, Delivery.FULL}
    dealer = net.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    dealer.send(b"hello")
    await until(lambda: len(ends.at_router) == 2)
    assert router.send(ends.at_router[1][0], b"fine") is Delivery.SENT
    await until(lambda: ends.at_dealer)
    await net.close()


async def test_a_full_dealer_says_so_without_calling_the_router_gone(
    raw: Strangers, ends: Ends
) -> None:
    net = ZmqTransport(replace(QUICK, send_hwm=5, send_buffer_bytes=4096, full_ms=60_000))
    lazy = raw.socket(zmq.ROUTER)
    lazy.setsockopt(zmq.RCVHWM, 1)
    lazy.setsockopt(zmq.RCVBUF, 4096)
    port = lazy.bind_to_random_port("tcp://127.0.0.1")
    dealer = net.dealer(f"tcp://127.0.0.1:{port}", ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    big = bytes(200_000)
    sent = 0
    while dealer.send(big):
        sent += 1
    for _ in range(20):
        await asyncio.sleep(0)
    assert ends.edges == [True]
    for _ in range(sent):
        assert lazy.poll(int(PATIENCE_S * 1000))
        lazy.recv_multipart()
    await until(lambda: dealer.send(b"room again"))
    assert ends.edges == [True]
    await net.close()


async def test_a_full_dealer_gives_a_silent_router_up_in_the_end(
    raw: Strangers, ends: Ends
) -> None:
    net = ZmqTransport(
        replace(
            QUICK,
            send_hwm=5,
            send_buffer_bytes=4096,
            full_ms=50,
        )
    )
    lazy = raw.socket(zmq.ROUTER)
    lazy.setsockopt(zmq.RCVHWM, 1)
    lazy.setsockopt(zmq.RCVBUF, 4096)
    port = lazy.bind_to_random_port("tcp://127.0.0.1")
    dealer = net.dealer(f"tcp://127.0.0.1:{port}", ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    await until(lambda: not dealer.send(bytes(200_000)) and ends.edges == [True, False])
    await net.close()


async def test_garbage_on_the_feed_is_told_and_the_feed_goes_on(
    net: ZmqTransport, raw: Strangers, ends: Ends
) -> None:
    ends.allowed = {b"T"}
    pub = net.publisher(LOCAL, ends.on_subscribe, ends.ended.append, ends.garbage.append)
    stranger = raw.socket(zmq.XSUB)
    stranger.connect(pub.endpoint)
    stranger.send(b"\x02what")
    stranger.send(b"")
    stranger.send_multipart([b"several", b"\x01T", b"parts"])
    await until(lambda: len(ends.garbage) >= 3)
    assert ends.garbage[:3] == [b"\x02what", b"", b"several"]
    sub = net.subscriber(pub.endpoint, ends.frames.extend)
    sub.subscribe(b"T")
    await until(lambda: b"T" in ends.asked)
    pub.send(b"T1")
    await until(lambda: ends.frames == [b"T1"])


async def test_garbage_never_leads_a_confirmation_to_the_wrong_subscriber(
    net: ZmqTransport, raw: Strangers, ends: Ends
) -> None:
    ends.allowed = {b"secret"}
    pub = net.publisher(LOCAL, ends.on_subscribe, ends.ended.append, ends.garbage.append)
    stranger, good, thief = (raw.socket(kind) for kind in (zmq.XSUB, zmq.SUB, zmq.SUB))
    for sock in (stranger, good, thief):
        sock.connect(pub.endpoint)
    # Each is connected once its first question arrives.
    stranger.send(b"\x01s")
    good.subscribe(b"g")
    thief.subscribe(b"t")
    await until(lambda: len(ends.asked) == 3)
    # All of these are to arrive in one turn, so the loop does not run while they are sent; on a
    # busy host the last of them may come too late for that.
    for patience_ms in (50, 200, 800, 3200):
        ends.asked.clear()
        ends.garbage.clear()
        stranger.send(b"garbage")
        assert not good.poll(patience_ms)
        good.subscribe(b"secret")
        assert not good.poll(patience_ms)
        thief.subscribe(b"x")
        assert not thief.poll(patience_ms)
        await until(lambda: len(ends.garbage) + len(ends.asked) == 3)
        if not ends.asked:
            break
        good.unsubscribe(b"secret")
        thief.unsubscribe(b"x")
        await until(lambda: len(ends.ended) >= 2)
        ends.ended.clear()
    assert ends.garbage == [b"garbage", b"\x01secret", b"\x01x"]
    # Renewed, it goes to the right one.
    good.subscribe(b"secret")
    await until(lambda: ends.asked == [b"secret"])
    pub.send(b"secret!")
    assert good.poll(int(PATIENCE_S * 1000))
    assert good.recv() == b"secret!"
    assert not thief.poll(0)


async def test_parts_of_a_feed_message_arrive_as_frames_which_their_reader_judges(
    net: ZmqTransport, raw: Strangers, ends: Ends
) -> None:
    stranger = raw.socket(zmq.XPUB)
    port = stranger.bind_to_random_port("tcp://127.0.0.1")
    sub = net.subscriber(f"tcp://127.0.0.1:{port}", ends.frames.extend)
    sub.subscribe(b"T")
    await until(lambda: stranger.poll(0))
    stranger.send_multipart([b"T", b"Tricky", b"Tail"])
    stranger.send(b"Tgood")
    await until(lambda: ends.frames)
    assert ends.frames == [b"T", b"Tricky", b"Tail", b"Tgood"]


async def test_a_slow_subscriber_loses_frames_and_stops_nobody(raw: Strangers, ends: Ends) -> None:
    net = ZmqTransport(replace(QUICK, send_hwm=10, send_buffer_bytes=4096))
    ends.allowed = {b"T"}
    pub = net.publisher(LOCAL, ends.on_subscribe, ends.ended.append, ends.garbage.append)
    slow = raw.socket(zmq.SUB)
    slow.setsockopt(zmq.RCVHWM, 1)
    slow.setsockopt(zmq.RCVBUF, 4096)
    slow.subscribe(b"T")
    slow.connect(pub.endpoint)
    sub = net.subscriber(pub.endpoint, ends.frames.extend)
    sub.subscribe(b"T")
    await until(lambda: len(ends.asked) == 2)
    for n in range(200):
        pub.send(b"T" + bytes(50_000))
        await until(lambda: len(ends.frames) == n + 1)  # noqa: B023
    await net.close()


async def test_port_zero_and_star_are_resolved(net: ZmqTransport, ends: Ends) -> None:
    for address in ("tcp://127.0.0.1:0", "tcp://127.0.0.1:*"):
        port = int(net.router(address, ends.on_peer).endpoint.rpartition(":")[2])
        assert port > 0


async def test_a_taken_port_and_a_served_path_are_in_use(
    net: ZmqTransport, ends: Ends, ipc_dir: str
) -> None:
    for address in (LOCAL, f"ipc://{ipc_dir}/x", "ipc://@amzmq-net-test"):
        router = net.router(address, ends.on_peer)
        with pytest.raises(AddressInUse):
            net.publisher(router.endpoint, lambda topic: True, print, print)


async def test_a_path_left_by_a_dead_process_is_taken_over(
    net: ZmqTransport, ends: Ends, ipc_dir: str
) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            stale: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            stale.socket(zmq.ROUTER).bind(f"ipc://{ipc_dir}/x")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)  # noqa: ASYNC222
    assert "x" in os.listdir(ipc_dir)
    assert net.router(f"ipc://{ipc_dir}/x", ends.on_peer).endpoint == f"ipc://{ipc_dir}/x"


@pytest.mark.parametrize(
    "address",
    ["foo://x", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "ipc://" + "a" * 200, "ipc://"],
)
async def test_an_impossible_address_is_invalid(
    net: ZmqTransport, ends: Ends, address: str
) -> None:
    with pytest.raises(AddressInvalid):
        net.router(address, ends.on_peer)
    with pytest.raises(AddressInvalid):
        net.subscriber(address, ends.frames.extend)


async def test_nobody_can_connect_to_port_zero(net: ZmqTransport, ends: Ends) -> None:
    with pytest.raises(AddressInvalid, match="between 1 and"):
        net.dealer("tcp://127.0.0.1:0", ends.on_message, ends.edges.append)


async def test_a_frame_over_the_limit_is_not_sent(ends: Ends) -> None:
    net = ZmqTransport(replace(QUICK, max_frame_bytes=1000))
    router = net.router(LOCAL, ends.on_peer)
    dealer = net.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    with pytest.raises(FrameTooLarge):
        dealer.send(bytes(1001))
    with pytest.raises(FrameTooLarge):
        dealer.send(b"", (bytes(1001),))
    assert dealer.send(bytes(1000), (bytes(1000),))
    await until(lambda: ends.at_router)
    await net.close()


async def test_a_stranger_over_the_limit_is_disconnected(raw: Strangers, ends: Ends) -> None:
    net = ZmqTransport(replace(QUICK, max_frame_bytes=1000))
    router = net.router(LOCAL, ends.on_peer)
    stranger = raw.socket(zmq.DEALER)
    stranger.connect(router.endpoint)
    stranger.send(b"small")
    await until(lambda: ends.at_router)
    stranger.send(bytes(1001))
    await until(lambda: router.send(ends.at_router[0][0], b"?") is Delivery.GONE)
    assert len(ends.at_router) == 1
    await net.close()


async def test_an_option_that_libzmq_refuses_is_named() -> None:
    net = ZmqTransport(replace(QUICK, send_hwm=-5))
    with pytest.raises(NetError, match="SNDHWM=-5"):
        net.subscriber("tcp://127.0.0.1:1", print)
    await net.close()


async def test_closing_leaves_no_descriptor_and_no_thread(ends: Ends) -> None:
    def open_now() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    before = open_now()
    for _ in range(3):
        first, second = ZmqTransport(QUICK), ZmqTransport()
        router = first.router(LOCAL, ends.on_peer)
        dealer = second.dealer(router.endpoint, ends.on_message, ends.edges.append)
        pub = first.publisher(LOCAL, ends.on_subscribe, ends.ended.append, print)
        second.subscriber(pub.endpoint, ends.frames.extend).subscribe(b"")
        await until(lambda: dealer.connected)  # noqa: B023
        dealer.send(b"unread")
        await first.close()
        assert open_now() > before
        await second.close()
        # Fewer than before is right too: what the test before this one closed may have lingered.
        await until(lambda: all(now <= then for now, then in zip(open_now(), before, strict=True)))


async def test_transports_share_one_context_until_the_last_closes() -> None:
    first, second = ZmqTransport(QUICK), ZmqTransport(QUICK)
    one = first.router(LOCAL, lambda peer, frame, blobs: None)
    two = second.router(LOCAL, lambda peer, frame, blobs: None)
    assert one._lease.context is two._lease.context
    await first.close()
    assert not two._lease.context.closed
    await second.close()
    assert two._lease.context.closed


async def test_a_context_that_does_not_end_is_left_behind_in_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease = net_context.acquire_context()
    stuck = lease.context.socket(zmq.DEALER)
    await lease.release(0.01)
    assert "left behind" in caplog.text
    stuck.close(0)


async def child_talks_to_itself() -> None:
    fresh = ZmqTransport(QUICK)
    ends = Ends()
    router = fresh.router(LOCAL, ends.on_peer)
    dealer = fresh.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    dealer.send(b"hello")
    await until(lambda: ends.at_router)
    await fresh.close()


async def test_after_a_fork_sockets_refuse_and_the_parent_goes_on(
    net: ZmqTransport, ends: Ends
) -> None:
    router = net.router(LOCAL, ends.on_peer)
    dealer = net.dealer(router.endpoint, ends.on_message, ends.edges.append)
    await until(lambda: dealer.connected)
    pid = os.fork()
    if pid == 0:
        refused = 0
        try:
            for use in (
                lambda: dealer.send(b"from the child"),
                lambda: router.send(b"x", b"y"),
                lambda: net.router(LOCAL, ends.on_peer),
            ):
                try:
                    use()
                except ForkedError:
                    refused += 1
            # Must neither touch the parent's connections nor its loop's descriptor set.
            dealer.close()
            router.close()
            asyncio.run(child_talks_to_itself())
            refused += 10  # and what is new works
        finally:
            os._exit(refused)
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222
    assert os.waitstatus_to_exitcode(status) == 13
    assert dealer.send(b"from the parent")
    await until(lambda: ends.at_router)
    assert [frame for _, frame, _ in ends.at_router] == [b"from the parent"]
