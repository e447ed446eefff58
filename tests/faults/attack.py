"""What somebody without a key can make a source spend: memory and processor time for each try.

    python -m tests.faults.attack [--count 500] [--json]

Each attack meets a fresh source, in a process of its own, which is looked at from outside
(/proc, so Linux only): its resident memory and the processor time of all its threads, before the
attack, while its connections are held, and after a second wave of it. What the kernel keeps for a
connection is not among it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zmq

from amzmq import Machine, Mux, State
from amzmq.net import Keys
from amzmq.rpc import Limits
from amzmq.wire.control import Hello, List, Ping, to_frame

HANDSHAKE_S = 3.0
"""What a source allows by default; once it is over, nothing of a try should be left."""

QUIET_S = 0.4
"""Without work for so long a source has done all there was."""

BUSY = 0.1
"""Part of a core that counts as work; pinging a thousand idle connections takes less."""

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """A source that is attacked.

    Attributes:
        addr, feed: Where it is reached.
        key: Its public key; "" if it demands none.
        allowed: Keys that it lets in.
    """

    addr: str
    feed: str
    key: str
    allowed: Keys


AttackFn = Callable[[Target, int], Sequence[Any]]
"""Attacks so many times; what it returns holds the connections until it is closed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one attack costs the source.

    Attributes:
        name: Of the attack.
        count: How often it was tried.
        cpu_us: Processor time of each try, in microseconds.
        held_bytes: Resident memory of each while it is held.
        added_bytes: What a second wave of as many adds, once the first is over: near nothing, as
            it uses the same memory again.
    """

    name: str
    count: int
    cpu_us: float
    held_bytes: float
    added_bytes: float


# The attacks.


def _connected(target: Target, count: int, first_words: bytes = b"") -> list[socket.socket]:
    host, _, port = target.addr.removeprefix("tcp://").rpartition(":")
    made = []
    for _ in range(count):
        made.append(socket.create_connection((host, int(port)), timeout=10))
        if first_words:
            made[-1].sendall(first_words)
    return made


def _greeting(mechanism: bytes) -> bytes:
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32)


def half_open(target: Target, count: int) -> Sequence[Any]:
    """TCP connections that never say a word."""
    return _connected(target, count)


def without_curve(target: Target, count: int) -> Sequence[Any]:
    """Greetings of the NULL mechanism, to a source that demands CURVE."""
    return _connected(target, count, _greeting(b"NULL"))


def garbage(target: Target, count: int) -> Sequence[Any]:
    """Bytes that are no ZMTP."""
    return _connected(target, count, os.urandom(1024))


def false_hello(target: Target, count: int) -> Sequence[Any]:
    """A CURVE greeting and a HELLO that cannot be opened: the dearest a stranger can say."""
    hello = b"\x05HELLO\x01\x00" + bytes(72) + os.urandom(32) + bytes(7) + b"\x01" + os.urandom(80)
    return _connected(target, count, _greeting(b"CURVE") + struct.pack(">BB", 4, 200) + hello)


def _dealers(target: Target, count: int, keys: Keys | None, *words: bytes) -> list[Any]:
    context = zmq.Context()
    context.max_sockets = count + 10
    made: list[Any] = []
    for _ in range(count):
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.RECONNECT_IVL, -1)
        if keys is not None:
            dealer.curve_serverkey = target.key.encode()
            dealer.curve_publickey = keys.public.encode()
            dealer.curve_secretkey = keys.secret.encode()
        dealer.connect(target.addr)
        for word in words:
            dealer.send(word)
        made.append(dealer)
    return [*made, context]


def unknown_key(target: Target, count: int) -> Sequence[Any]:
    """Whole handshakes with a key that is not listed, by who knows the source's public key."""
    return _dealers(target, count, Keys.generate())


def known_key(target: Target, count: int) -> Sequence[Any]:
    """For comparison: handshakes that succeed."""
    return _dealers(target, count, target.allowed)


def subscriptions(target: Target, count: int) -> Sequence[Any]:
    """Without CURVE: subscriptions to ids that nobody was given, over one connection."""
    context = zmq.Context()
    spy = context.socket(zmq.XSUB)
    spy.setsockopt(zmq.LINGER, 0)
    spy.setsockopt(zmq.SNDHWM, 0)
    spy.connect(target.feed)
    for _ in range(count):
        spy.send(b"\x01" + os.urandom(8))
    return [spy, context]


def strange_words(target: Target, count: int) -> Sequence[Any]:
    """Without CURVE: pings over one connection that never said Hello."""
    return _dealers(target, 1, None, *[to_frame(Ping(0))] * count)


def lists(target: Target, count: int) -> Sequence[Any]:
    """Without CURVE: questions what there is, over one connection."""
    return _dealers(target, 1, None, *[to_frame(List(n)) for n in range(count)])


def clients(target: Target, count: int) -> Sequence[Any]:
    """Without CURVE: connections that each become a client."""
    return _dealers(target, count, None, to_frame(Hello(1, "rc-crowd", os.urandom(8), b"")))


LOCKED: tuple[AttackFn, ...] = (
    half_open, without_curve, garbage, false_hello, unknown_key, known_key,
)  # fmt: skip
OPEN: tuple[AttackFn, ...] = (subscriptions, strange_words, lists, clients)

# The source.


class Source:
    """A source in a process of its own.

    Args:
        locked: Whether it demands CURVE.
        folder: Where its keys are.
    """

    def __init__(self, locked: bool, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.faults.attack", "--source", str(folder)]
        self._process = subprocess.Popen(
            command + ["--locked"] * locked, stdout=subprocess.PIPE, stdin=subprocess.PIPE
        )
        assert self._process.stdout is not None
        addr, feed = json.loads(self._process.stdout.readline())
        key = Keys.load(folder / "source.key").public if locked else ""
        self.target = Target(addr, feed, key, Keys.load(folder / "clients" / "known.key"))

    @property
    def cpu_s(self) -> float:
        """Processor time of all threads."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        statm = Path(f"/proc/{self._process.pid}/statm").read_text()
        return int(statm.split()[1]) * resource.getpagesize()

    def settle(self) -> None:
        """Wait until it has nothing more to do."""
        deadline = time.monotonic() + PATIENCE_S
        before = self.cpu_s
        while time.monotonic() < deadline:
            time.sleep(QUIET_S)
            now = self.cpu_s
            if now - before < BUSY * QUIET_S:
                return
            before = now
        raise TimeoutError(f"the source is still busy after {PATIENCE_S:g} s")

    def stop(self) -> None:
        """End it."""
        self._process.communicate(timeout=PATIENCE_S)


async def serve(folder: Path, locked: bool) -> None:
    """Be the source, until nobody reads any more."""
    lock: dict[str, Any] = {}
    if locked:
        lock = {"curve": Keys.load(folder / "source.key"), "authenticator": folder / "clients"}
    machine = Machine({f"State{n}": State() for n in range(20)}, id="target")
    async with Mux(machine, heartbeat=3600.0, limits=Limits(handshake=HANDSHAKE_S), **lock) as mux:
        print(json.dumps([mux.addr, mux.feed_addr]), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def measure(attack: AttackFn, count: int, locked: bool, folder: Path) -> Cost:
    """Attack a fresh source."""
    source = Source(locked, folder)
    try:
        release(attack(source.target, max(1, count // 10)))  # what is made once for all
        time.sleep(HANDSHAKE_S)
        source.settle()
        cpu, memory = source.cpu_s, source.resident
        held = attack(source.target, count)
        source.settle()
        spent, kept = source.cpu_s - cpu, source.resident - memory
        over = after(held, source)
        added = after(attack(source.target, count), source) - over
    finally:
        source.stop()
    name = attack.__name__.replace("_", " ")
    return Cost(name, count, 1e6 * spent / count, kept / count, added / count)


def after(held: Sequence[Any], source: Source) -> int:
    """The memory of a source once an attack is over, its handshakes as well."""
    source.settle()
    time.sleep(HANDSHAKE_S)
    release(held)
    source.settle()
    return source.resident


def release(held: Sequence[Any]) -> None:
    """Close what an attack holds."""
    for each in held:
        each.close(0) if isinstance(each, zmq.Socket) else None
    for each in held:
        if isinstance(each, zmq.Context):
            each.term()
        elif isinstance(each, socket.socket):
            each.close()


def main() -> None:
    """Measure all attacks, or be the source of one."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.attack", description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="tries of each attack")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--locked", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.source is not None:
        asyncio.run(serve(options.source, options.locked))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clients").mkdir()
        for each in ("source", "clients/known"):
            Keys.generate().save(folder / f"{each}.key")
        costs = []
        for attacks, locked in ((LOCKED, True), (OPEN, False)):
            for attack in attacks:
                costs.append(measure(attack, options.count, locked, folder))
                if not options.json:
                    show(costs[-1])
    if options.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=2))


def show(cost: Cost) -> None:
    """One line of the table."""
    print(
        f"{cost.name:<16} {cost.count:>6} tries  {cost.cpu_us:>8.0f} us  "
        f"{cost.held_bytes:>8.0f} bytes held  {cost.added_bytes:>8.0f} added again",
        flush=True,
    )


if __name__ == "__main__":
    main()
