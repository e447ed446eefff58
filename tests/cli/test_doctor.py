from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import pytest

from amzmq.cli.diagnosis import Case, Finding, Level, diagnose, judge_counts, judge_heartbeat
from amzmq.machine import Machine, State
from amzmq.net import AnyKey, Keys, TrafficMeter, ZmqTransport
from amzmq.rpc import Mux
from amzmq.wire.control import PROTOCOL_VERSION, Refusal, RefusalCode, Welcome
from amzmq.wire.control_frames import to_frame
from amzmq.wire.feed import STREAM_ID_SIZE, FeedKind, Update, parse_body
from amzmq.wire.journal import JournalLimits
from tests.cli.background import in_background, serving
from tests.cli.command import invoke, one_line

TIMEOUT = 30.0
BRIEF = {"timeout": 3.0, "seconds": 0.3}
ELSEWHERE = "127.0.0.2"


def door() -> Machine:
    return Machine({"Open": State(), "Bell": State(multi=True)}, id="door")


async def examine(addr: str, **options: object) -> dict[str, Finding]:
    case = Case(addr, **{**BRIEF, **options})  # type: ignore[arg-type]
    async with asyncio.timeout(TIMEOUT):
        return {finding.check: finding for finding in await diagnose(case)}


def the_error(findings: dict[str, Finding]) -> Finding:
    (error,) = (finding for finding in findings.values() if finding.level is Level.ERROR)
    assert error is list(findings.values())[-1], "nothing is checked behind an error"
    assert error.remedy
    return error


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.01)


class Feed:
    """Stands at another host before a Mux's feed, and changes or drops what it is told to."""

    def __init__(self, mux: Mux, flaw: Callable[[bytes], bytes | None]) -> None:
        self._flaw = flaw
        self._transport = ZmqTransport()
        port = mux.feed_addr.rpartition(":")[2]
        self._subscriber = self._transport.subscriber(mux.feed_addr, self._on_frames)
        self._publisher = self._transport.publisher(
            f"tcp://{ELSEWHERE}:{port}", self._on_subscribe, lambda topic: None, lambda frame: None
        )

    def _on_subscribe(self, topic: bytes) -> bool:
        self._subscriber.subscribe(topic)
        return True

    def _on_frames(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            passed_on = self._flaw(frame)
            if passed_on is not None:
                self._publisher.send(passed_on)

    async def close(self) -> None:
        await self._transport.close()


@asynccontextmanager
async def elsewhere(mux: Mux) -> AsyncIterator[TrafficMeter]:
    """The conversation of a Mux at another host, where its feed is not."""
    async with TrafficMeter(mux.addr, bind=f"tcp://{ELSEWHERE}:0") as meter:
        yield meter


@contextmanager
def listener(answer: bytes) -> Iterator[str]:
    """A plain TCP server that says one thing to all who come."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection:
                    if not connection.recv(1000):
                        return
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield f"tcp://127.0.0.1:{port}"
        finally:
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join(TIMEOUT)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


# Who listens.


async def test_nothing_is_wrong_with_a_source_that_works() -> None:
    async with Mux(door(), heartbeat=0.2) as mux:
        findings = await examine(mux.addr, seconds=0.5, slow=5.0)
    assert "not judged" not in findings["heartbeat"].what
    assert {finding.level for finding in findings.values()} == {Level.OK}, findings
    assert list(findings) == [
        "port", "conversation", "round trip", "feed port", "heartbeat", "clock", "messages",
    ]  # fmt: skip
    assert "'door'" in findings["conversation"].what


async def test_a_port_where_nothing_listens_is_named() -> None:
    addr = closed_port()
    error = the_error(await examine(addr))
    assert error.what.startswith(f"nothing listens at {addr}")


async def test_what_is_no_zeromq_is_told_by_its_first_bytes() -> None:
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as addr:
        error = the_error(await examine(addr))
    assert "does not speak ZeroMQ" in error.what
    assert "HTTP/1.1" in error.what


async def test_what_takes_connections_and_says_nothing_is_told_from_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        addr = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        error = the_error(await examine(addr, timeout=0.2))
    assert "says nothing" in error.what


@asynccontextmanager
async def router(answer: bytes | None) -> AsyncIterator[str]:
    """A ZeroMQ socket that is no Mux, and what it answers to everything."""
    transport = ZmqTransport()
    try:
        sock = transport.router(
            "tcp://127.0.0.1:0",
            lambda peer, frame, blobs: None if answer is None else reply(peer, answer),
        )

        def reply(peer: bytes, frame: bytes) -> None:
            sock.send(peer, frame)

        yield sock.endpoint
    finally:
        await transport.close()


async def test_another_protocol_over_zeromq_is_told() -> None:
    async with router(b"hello yourself") as addr:
        assert "another protocol" in the_error(await examine(addr)).what


async def test_a_zeromq_socket_that_never_answers_is_told() -> None:
    async with router(None) as addr:
        assert "does not answer" in the_error(await examine(addr, timeout=0.5)).what


async def test_another_version_of_the_protocol_is_told_with_both_versions() -> None:
    refusal = Refusal(0, RefusalCode.VERSION, "protocol 1, this source speaks 2")
    async with router(to_frame(refusal)) as addr:
        error = the_error(await examine(addr))
    assert "another version" in error.what
    assert refusal.reason in error.what
    assert "same release" in error.remedy


async def test_a_welcome_of_another_version_is_told_too() -> None:
    welcome = Welcome(PROTOCOL_VERSION + 1, bytes(8), bytes(8), "tcp://127.0.0.1:1", "door", 1000)
    async with router(to_frame(welcome)) as addr:
        error = the_error(await examine(addr))
    assert f"speaks protocol {PROTOCOL_VERSION + 1}" in error.what
    assert f"here it is {PROTOCOL_VERSION}" in error.remedy


async def test_the_feeds_port_is_told_from_the_conversations() -> None:
    async with Mux(door()) as mux:
        error = the_error(await examine(mux.feed_addr, timeout=0.5))
    assert "feed" in error.remedy


# Keys.


async def test_a_source_that_is_locked_asks_for_a_key() -> None:
    async with Mux(door(), curve=Keys.generate(), authenticator=AnyKey()) as mux:
        error = the_error(await examine(mux.addr))
    assert "locked by CURVE" in error.what
    assert "--server-key" in error.remedy


async def test_with_the_right_keys_a_locked_source_is_well() -> None:
    source, own = Keys.generate(), Keys.generate()
    async with Mux(door(), curve=source, authenticator=lambda key: key == own.public) as mux:
        findings = await examine(mux.addr, keys=own, server_key=source.public, slow=5.0)
    assert {finding.level for finding in findings.values()} == {Level.OK}, findings


@pytest.mark.parametrize("wrong", ["server_key", "keys"])
async def test_a_wrong_key_is_told(wrong: str) -> None:
    source, own = Keys.generate(), Keys.generate()
    given = {"server_key": source.public, "keys": own}
    given[wrong] = Keys.generate().public if wrong == "server_key" else Keys.generate()
    async with Mux(door(), curve=source, authenticator=lambda key: key == own.public) as mux:
        error = the_error(await examine(mux.addr, timeout=0.5, **given))
    assert "does not take the key" in error.what


async def test_a_key_for_a_source_that_is_not_locked_is_told() -> None:
    async with Mux(door()) as mux:
        error = the_error(await examine(mux.addr, server_key=Keys.generate().public))
    assert "is not locked" in error.what


# What is refused.


async def test_a_machine_that_is_not_served_is_told_with_those_that_are() -> None:
    async with Mux(door()) as mux:
        error = the_error(await examine(mux.addr, machine="gate"))
    assert "'gate'" in error.what
    assert "door" in error.what
    assert "--machine" in error.remedy


async def test_a_state_that_the_machine_lacks_is_told_with_those_it_has() -> None:
    async with Mux(door()) as mux:
        error = the_error(await examine(mux.addr, states=frozenset({"Opne"})))
    assert "Opne" in error.what
    assert "Open" in error.what
    assert "--state" in error.remedy


async def test_a_client_that_is_not_let_in_is_told() -> None:
    async with Mux(door(), allow_ids=["rc-ann"]) as mux:
        error = the_error(await examine(mux.addr))
    assert error.what.startswith("refused: ")
    assert "allow_ids" in error.remedy


# The feed.


async def test_a_feed_port_that_cannot_be_reached_is_told_though_the_conversation_answers() -> None:
    async with Mux(door()) as mux, elsewhere(mux) as meter:
        findings = await examine(meter.addr)
    assert findings["conversation"].level is Level.OK
    error = the_error(findings)
    assert error.check == "feed port"
    assert "nothing listens" in error.what


async def test_a_feed_that_takes_connections_and_carries_nothing_is_told() -> None:
    async with Mux(door()) as mux, elsewhere(mux) as meter:
        feed = Feed(mux, lambda frame: None)
        try:
            error = the_error(await examine(meter.addr, timeout=2.0))
        finally:
            await feed.close()
    assert error.check == "feed"
    assert "nothing arrives from the feed" in error.what


async def test_a_feed_that_falls_silent_while_it_is_watched_is_told() -> None:
    async with Mux(door(), heartbeat=0.2) as mux, elsewhere(mux) as meter:
        is_silent = False
        feed = Feed(mux, lambda frame: None if is_silent else frame)
        try:
            examined = asyncio.create_task(examine(meter.addr, seconds=20.0))
            await until(lambda: mux.metrics()["syncs"] > 0 or examined.done())
            is_silent = True
            error = the_error(await examined)
        finally:
            await feed.close()
    assert error.check == "following"
    assert "was silent for" in error.what


class Once:
    """Meets the first frame of a kind, once it is told to."""

    def __init__(self, kind: FeedKind, change: Callable[[bytes], bytes | None]) -> None:
        self.is_on = False
        self.met = 0
        self._kind = kind
        self._change = change

    def __call__(self, frame: bytes) -> bytes | None:
        if not self.is_on or self.met or frame[STREAM_ID_SIZE] != self._kind:
            return frame
        self.met += 1
        return self._change(frame)


async def examine_with(flaw: Once, mux: Mux, act: Callable[[], object]) -> dict[str, Finding]:
    """What is found where something happens while the feed is watched, and has a flaw."""
    async with elsewhere(mux) as meter:
        feed = Feed(mux, flaw)
        try:
            examined = asyncio.create_task(examine(meter.addr, seconds=0.5, slow=5.0))
            await until(lambda: mux.metrics()["syncs"] > 0 or examined.done())
            flaw.is_on = True
            for _ in range(3):
                act()
                mux.flush()
            findings = await examined
            assert flaw.met == 1
            return findings
        finally:
            await feed.close()


async def test_messages_that_the_feed_loses_are_counted_as_drift_that_was_mended() -> None:
    source = door()
    async with Mux(source) as mux:
        flaw = Once(FeedKind.UPDATE, lambda frame: None)
        findings = await examine_with(flaw, mux, lambda: source.add("Bell"))
    assert findings["clock"].level is Level.WARNING
    assert "1 gaps" in findings["clock"].what
    assert findings["clock"].remedy


async def test_a_clock_that_became_another_on_its_way_is_drift() -> None:
    source = door()

    def with_more_ticks(frame: bytes) -> bytes:
        update = parse_body(frame[STREAM_ID_SIZE:])
        assert isinstance(update, Update)
        (index, ticks) = update.changes
        return frame[:STREAM_ID_SIZE] + update._replace(changes=[index, ticks + 2]).body()

    async with Mux(source) as mux:
        flaw = Once(FeedKind.UPDATE, with_more_ticks)
        findings = await examine_with(flaw, mux, lambda: source.add("Bell"))
    assert findings["clock"].level is Level.WARNING
    assert "1 mismatches" in findings["clock"].what
    assert findings["messages"].level is Level.OK


async def test_payloads_that_nobody_has_any_more_are_lost_and_told() -> None:
    async with Mux(door(), journal=JournalLimits(messages=1)) as mux:
        flaw = Once(FeedKind.PAYLOAD, lambda frame: None)
        findings = await examine_with(flaw, mux, lambda: mux.send_payload("price", 1))
    assert findings["messages"].level is Level.WARNING
    assert "payloads_lost" in findings["messages"].what
    assert "journal=" in findings["messages"].remedy


async def test_a_slow_round_trip_is_a_warning_and_the_rest_is_still_checked() -> None:
    async with Mux(door()) as mux, elsewhere(mux) as meter:
        meter.delay = 0.01
        async with TrafficMeter(
            mux.feed_addr, bind=f"tcp://{ELSEWHERE}:{mux.feed_addr.rpartition(':')[2]}"
        ):
            findings = await examine(meter.addr, slow=0.02)
    assert findings["round trip"].level is Level.WARNING
    assert findings["messages"].level is Level.OK


def test_a_late_heartbeat_is_a_warning_and_a_rare_one_is_not_judged() -> None:
    assert judge_heartbeat(2.5, 1.0, 3.0).level is Level.WARNING
    assert judge_heartbeat(0.5, 1.0, 3.0).level is Level.OK
    assert "not judged" in judge_heartbeat(0.5, 10.0, 3.0).what


def test_each_way_of_drifting_or_losing_is_named_with_its_count() -> None:
    for name in ("mismatches", "gaps", "resyncs"):
        clock, messages = judge_counts({name: 2, "updates": 9})
        assert (clock.level, messages.level) == (Level.WARNING, Level.OK)
        assert f"2 {name}" in clock.what
    for name in ("payloads_lost", "payloads_dropped", "overflows", "garbage"):
        clock, messages = judge_counts({name: 3, "updates": 9})
        assert (clock.level, messages.level) == (Level.OK, Level.WARNING)
        assert f"3 {name}" in messages.what


# The command.


def test_the_exit_status_is_1_when_something_is_wrong_and_the_remedy_stands_below() -> None:
    done = invoke("doctor", closed_port())
    assert done.returncode == 1
    what, remedy = done.stdout.splitlines()
    assert what.startswith("error")
    assert remedy.strip().startswith("-> ")


def test_json_is_one_line_and_a_working_source_is_status_0() -> None:
    with in_background(lambda: serving("door")) as served:
        done = invoke("doctor", served.addr, "--json", "--seconds", "0.2", "--slow", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(one_line(done.stdout))
    assert said["ok"] is True
    assert {finding["level"] for finding in said["findings"]} == {"ok"}
