"""What may be wrong between here and a source: checks, each of which builds on those before."""

from __future__ import annotations

import asyncio
import enum
import secrets
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from amzmq.cli.greeting import Voice, greet
from amzmq.cli.waits import first_of
from amzmq.errors import AddressInvalid, AmzmqError, FrameInvalid
from amzmq.net import Dealer, Keys, ZmqTransport
from amzmq.rpc.client.client import Client
from amzmq.rpc.client.talk import reachable
from amzmq.wire.control import (
    PROTOCOL_VERSION,
    Bye,
    Hello,
    Message,
    Ping,
    Pong,
    Refusal,
    RefusalCode,
    Welcome,
)
from amzmq.wire.control_frames import from_frame, to_frame
from amzmq.wire.view import View

_M = TypeVar("_M", bound=Message)

ROUND_TRIPS = 5
"""Round trips whose median counts."""

LATE_BEATS = 2.0
"""Heartbeats after which a feed counts as late."""

DRIFT = ("mismatches", "gaps", "resyncs")
LOSSES = ("payloads_lost", "payloads_dropped", "overflows", "garbage")


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Attributes:
        check: The check's name.
        level: How bad it is; after an error nothing further is checked.
        what: What is so, in words.
        remedy: What to do about it; "" if nothing has to be done.
    """

    check: str
    level: Level
    what: str
    remedy: str = ""


@dataclass(slots=True)
class Case:
    """The source in question, and what is known of it so far.

    Attributes:
        addr: Its address.
        machine: The machine wanted; "" for the default one.
        states: Follow only these; None for all.
        keys, server_key: As of `ZmqTransport`.
        timeout: Seconds to wait for each answer.
        seconds: How long to watch the feed.
        slow: Seconds from which a round trip is slow.
        welcome: What the source said to Hello, once it did.
    """

    addr: str
    machine: str = ""
    states: frozenset[str] | None = None
    keys: Keys | None = None
    server_key: str | None = None
    timeout: float = 3.0
    seconds: float = 3.0
    slow: float = 0.25
    welcome: Welcome | None = None


CheckFn = Callable[[Case], Awaitable[list[Finding]]]


async def diagnose(case: Case) -> list[Finding]:
    """All checks, up to the first that finds an error.

    Raises:
        AmzmqError: The address or a key is none.
    """
    findings: list[Finding] = []
    for check in (check_port, check_conversation, check_feed_port, check_following):
        findings += await check(case)
        if any(finding.level is Level.ERROR for finding in findings):
            break
    return findings


# The ports.


async def check_port(case: Case) -> list[Finding]:
    """Whether a ZeroMQ socket listens, and wants the keys that are given."""
    return [
        await _port(
            case, "port", case.addr,
            "start the source, or compare the address with the one that it was bound to",
        )
    ]  # fmt: skip


async def check_feed_port(case: Case) -> list[Finding]:
    """Whether the feed's port can be reached, at the host of the conversation's."""
    assert case.welcome is not None
    feed = reachable(case.welcome.feed, case.addr)
    remedy = "let this port through as well (firewall, container, tunnel), or set feed= of the Mux"
    try:
        return [await _port(case, "feed port", feed, remedy)]
    except AddressInvalid as error:
        what = f"the source names a feed that cannot be reached from here: {error}"
        return [Finding("feed port", Level.ERROR, what, "set feed= of the Mux")]


async def _port(case: Case, check: str, addr: str, remedy: str) -> Finding:
    greeting = await greet(addr, case.timeout)
    detail = greeting.detail
    if greeting.voice is Voice.ZEROMQ:
        return _mechanism(case, check, addr, greeting.mechanism)
    what = {
        Voice.NOBODY: f"nothing listens at {addr} ({detail})",
        Voice.UNREACHED: f"{addr} cannot be reached ({detail})",
        Voice.SILENT: f"something takes connections at {addr} and says nothing: no ZeroMQ, or hung",
        Voice.FOREIGN: f"what listens at {addr} does not speak ZeroMQ ({detail})",
    }[greeting.voice]
    if greeting.voice in (Voice.SILENT, Voice.FOREIGN):
        remedy = "look which program has this port; it is not an amzmq source that works"
    return Finding(check, Level.ERROR, what, remedy)


def _mechanism(case: Case, check: str, addr: str, mechanism: str) -> Finding:
    given = "NULL" if case.server_key is None else "CURVE"
    if mechanism == given:
        secured = " with CURVE" if given == "CURVE" else ""
        return Finding(check, Level.OK, f"{addr} speaks ZeroMQ{secured}")
    if mechanism == "CURVE":
        what = f"{addr} is locked by CURVE, and no key was given"
        remedy = "pass --server-key SOURCE.pub, and --key YOURS.key if it knows its clients"
    elif mechanism == "NULL":
        what = f"{addr} is not locked, and --server-key expects that it is"
        remedy = "leave out --server-key, or lock the source by curve= and authenticator="
    else:
        what = f"{addr} wants {mechanism!r} security, which amzmq does not use"
        remedy = "look which program has this port"
    return Finding(check, Level.ERROR, what, remedy)


# The conversation.


class _Exchange:
    """A bare dealer: what it was told, and whether it is connected."""

    def __init__(self, transport: ZmqTransport, addr: str) -> None:
        self.connected = asyncio.Event()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._dealer: Dealer = transport.dealer(
            addr, lambda frame, blobs: self._frames.put_nowait(frame), self._on_connected
        )

    def _on_connected(self, connected: bool) -> None:
        if connected:
            self.connected.set()

    def say(self, message: Message) -> None:
        """Send a message; one that is lost shows by its answer, which does not come."""
        self._dealer.send(to_frame(message))

    async def hear(self, *kinds: type[_M]) -> _M:
        """The next message of these kinds.

        Raises:
            FrameInvalid: Something came that is no message.
        """
        while True:
            message = from_frame(await self._frames.get())
            if isinstance(message, kinds):
                return message


@asynccontextmanager
async def _exchange(case: Case) -> AsyncIterator[_Exchange]:
    transport = ZmqTransport(curve=case.keys, server_key=case.server_key)
    try:
        yield _Exchange(transport, case.addr)
    finally:
        await transport.close()


async def check_conversation(case: Case) -> list[Finding]:
    """Whether an amzmq source answers, lets us in, has the machine, and is quick."""
    async with _exchange(case) as exchange:
        try:
            async with asyncio.timeout(case.timeout):
                await exchange.connected.wait()
        except TimeoutError:
            return [_no_handshake(case)]
        try:
            answer = await _hello(case, exchange)
            if isinstance(answer, Refusal):
                return [_refused(case, answer)]
            if answer.version != PROTOCOL_VERSION:
                return [_other_version(case, f"it speaks protocol {answer.version}")]
            case.welcome = answer
            greeted = Finding("conversation", Level.OK, f"serves machine {answer.machine_id!r}")
            return [greeted, await _round_trips(case, exchange)]
        except FrameInvalid as error:
            what = f"{case.addr} speaks ZeroMQ, but another protocol than amzmq: {error}"
        except TimeoutError:
            what = f"{case.addr} is connected, but does not answer within {case.timeout:g} s"
        finally:
            exchange.say(Bye("the doctor leaves"))
    remedy = "look which program has this port; a source whose event loop is blocked is silent too"
    return [Finding("conversation", Level.ERROR, what, remedy)]


async def _hello(case: Case, exchange: _Exchange) -> Welcome | Refusal:
    view = View(True, case.states, frozenset(), False, False)
    exchange.say(
        Hello(
            PROTOCOL_VERSION, f"rc-{_name()}", secrets.token_bytes(8), b"", case.machine,
            view.value(),
        )
    )  # fmt: skip
    async with asyncio.timeout(case.timeout):
        return await exchange.hear(Welcome, Refusal)


def _name() -> str:
    return f"doctor-{secrets.token_hex(3)}"


def _no_handshake(case: Case) -> Finding:
    if case.server_key is None:
        what = f"{case.addr} greets as ZeroMQ, but the handshake does not end"
        remedy = "check that this is the conversation's address; the feed's is often one port later"
    else:
        what = f"{case.addr} does not take the key"
        remedy = (
            "compare --server-key with the source's .pub file, and have the .pub file of --key "
            "put among the clients that its authenticator knows"
        )
    return Finding("conversation", Level.ERROR, what, remedy)


def _other_version(case: Case, reason: str) -> Finding:
    what = f"{case.addr} speaks another version of the protocol: {reason}"
    remedy = f"install the same release of amzmq on both sides; here it is {PROTOCOL_VERSION}"
    return Finding("conversation", Level.ERROR, what, remedy)


_REMEDIES = {
    RefusalCode.MACHINE_UNKNOWN: "pass --machine with an id that `amzmq ls` shows, or serve it",
    RefusalCode.SCHEMA: "name with --state only states that the machine has",
    RefusalCode.NO_ACCESS: "have the source let this client in (allow_ids, rights, new_server), "
    "or pass its --key",
    RefusalCode.LIMIT: "wait a little, or raise the limit that is named",
    RefusalCode.STOPPING: "it is going away: try again once it has been restarted",
    RefusalCode.UNREACHABLE: "it is a relay whose own source is away: examine that one",
}


def _refused(case: Case, refusal: Refusal) -> Finding:
    if refusal.code == RefusalCode.VERSION:
        return _other_version(case, refusal.reason)
    remedies = {int(code): text for code, text in _REMEDIES.items()}
    remedy = remedies.get(refusal.code, "look into the source's log")
    return Finding("conversation", Level.ERROR, f"refused: {refusal.reason}", remedy)


async def _round_trips(case: Case, exchange: _Exchange) -> Finding:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    for _ in range(ROUND_TRIPS):
        began = loop.time()
        exchange.say(Ping(-1))
        async with asyncio.timeout(case.timeout):
            await exchange.hear(Pong)
        times.append(loop.time() - began)
    median = statistics.median(times)
    what = f"{median * 1000:.1f} ms, the median of {ROUND_TRIPS}"
    if median < case.slow:
        return Finding("round trip", Level.OK, what)
    remedy = "look for handlers that block the source's event loop, then at the network between"
    return Finding("round trip", Level.WARNING, f"slow: {what}", remedy)


# Following.


async def check_following(case: Case) -> list[Finding]:
    """Whether a client becomes level with the source, and stays so."""
    client = Client(
        case.addr,
        _name(),
        machine=case.machine,
        allowed_states=case.states,
        conn_timeout=case.timeout,
        call_timeout=case.timeout,
        conn_retries=0,
        reconnect=False,
        curve=case.keys,
        server_key=case.server_key,
    )
    client.start()
    try:
        try:
            await client.ready()
        except AmzmqError as error:
            return [_not_level(client, error)]
        return await _watch(case, client)
    finally:
        await client.stop()


def _not_level(client: Client, error: AmzmqError) -> Finding:
    follower = client.following.follower
    if follower is not None and follower.last_frame_at == 0.0:
        what = f"the conversation answers, but nothing arrives from the feed: {client.mach.err()}"
        remedy = "look at what is between here and the feed's port (proxy, firewall, tunnel)"
        return Finding("feed", Level.ERROR, what, remedy)
    return Finding("following", Level.ERROR, str(error), "look into the source's log")


async def _watch(case: Case, client: Client) -> list[Finding]:
    await first_of(client.mach.when("ConnRetryFailed"), timeout=case.seconds)
    if client.mach.is_("ConnRetryFailed"):
        what = f"the connection was lost while watching: {client.mach.err()}"
        remedy = "see whether the source still runs, and whether both of its ports get through"
        return [Finding("following", Level.ERROR, what, remedy)]
    age = asyncio.get_running_loop().time() - client.follower.last_frame_at
    beats = judge_heartbeat(age, client.heartbeat, case.seconds)
    return [beats, *judge_counts(client.metrics())]


def judge_heartbeat(age: float, interval: float, seconds: float) -> Finding:
    """What the time since the feed's last frame means.

    Args:
        age: That time, in seconds.
        interval: Seconds between heartbeats, as the source has it.
        seconds: How long the feed was watched.
    """
    if age > LATE_BEATS * interval:
        what = f"the feed was silent for {age:.1f} s; it should beat every {interval:g} s"
        remedy = "look for handlers that block the source's event loop, and at the feed's way here"
        return Finding("heartbeat", Level.WARNING, what, remedy)
    if seconds < LATE_BEATS * interval:
        what = f"not judged: every {interval:g} s is too rare to be missed within {seconds:g} s"
        remedy = f"--seconds {LATE_BEATS * interval + 1:g} is long enough"
        return Finding("heartbeat", Level.OK, what, remedy)
    return Finding("heartbeat", Level.OK, f"every {interval:g} s, as it should")


def judge_counts(counts: Mapping[str, int]) -> list[Finding]:
    """What the counters of a client mean that has connected once, and watched."""
    drift, losses = _listed(counts, DRIFT), _listed(counts, LOSSES)
    return [
        Finding(
            "clock", Level.WARNING, f"the replica fell behind the source and was mended: {drift}",
            "a slow network or reader loses messages: follow fewer states (allowed_states), "
            "set push_interval= of the Mux, or put a relay near here",
        )
        if drift
        else Finding("clock", Level.OK, "the replica stayed level with the source"),
        Finding(
            "messages", Level.WARNING, f"messages were dropped: {losses}",
            "a larger journal= of the Mux keeps payloads longer; garbage means that something "
            "else writes to this port",
        )
        if losses
        else Finding("messages", Level.OK, "none dropped"),
    ]  # fmt: skip


def _listed(counts: Mapping[str, int], names: tuple[str, ...]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in names if counts.get(name, 0) > 0)
