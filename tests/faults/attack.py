"""What somebody without a key can make a source spend: memory and processor time for each try.

    python -m tests.faults.attack [--count 500] [--waves 4] [--only "unknown key"] [--json]

Each attack meets a fresh source, in a process of its own, in several waves. The source is looked at
from outside (/proc, so Linux only): its resident memory and the processor time of all its threads,
before the attack, while the connections of the first wave are held, and when those of a wave are
gone. What the kernel keeps for a connection is not among it.

Resident memory alone cannot say whether something is left of a try: the allocator keeps what was
freed, with holes, and more of its pages are touched from wave to wave. So the source is also asked
what it holds: the bytes that malloc has given out (glibc 2.33 or newer), and the blocks of Python's
own allocator.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
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
from amzmq.net import Keys, SocketOptions
from amzmq.rpc import Limits
from amzmq.wire.control import Hello, List, Ping
from amzmq.wire.control_frames import to_frame

HANDSHAKE_S = 3.0
"""What a source allows by default; once it is over, nothing of a try should be left."""

QUIET_S = 0.4
"""Without work for so long a source has done all there was."""

BUSY = 0.1
"""Part of a core that counts as work; pinging a thousand idle connections takes less."""

PATIENCE_S = 60.0

SMALLEST_PIECE = 32
"""Bytes of the smallest piece that malloc gives out on 64 bits."""

UNREST = 8192
"""Bytes that come and go in a source that nobody attacks, as timers and buffers do."""


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
class Memory:
    """What a source holds at one moment.

    Attributes:
        resident: Bytes, as the kernel counts them.
        in_use: Bytes that malloc has given out and that were not freed.
        blocks: Pieces that Python's own allocator has given out: its small objects.
    """

    resident: int
    in_use: int
    blocks: int

    def __sub__(self, earlier: Memory) -> Memory:
        return Memory(
            self.resident - earlier.resident,
            self.in_use - earlier.in_use,
            self.blocks - earlier.blocks,
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What one attack costs the source.

    Attributes:
        name: Of the attack.
        count: How often it was tried in each wave.
        waves: How many there were.
        cpu_us: Processor time of each try, in microseconds.
        held: More memory while the first wave is held.
        first_half: Growth by the first half of the waves, looked at when nothing is held.
        second_half: The same for the second half.
    """

    name: str
    count: int
    waves: int
    cpu_us: float
    held: Memory
    first_half: Memory
    second_half: Memory

    @property
    def flat(self) -> bool:
        """Whether the second half left less than one of the smallest pieces for every two tries."""
        tries = self.count * (self.waves // 2)
        left = self.second_half
        pieces = (left.in_use - UNREST) / SMALLEST_PIECE
        return 2 * pieces < tries and 2 * left.blocks < tries


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


def large_command(target: Target, count: int) -> Sequence[Any]:
    """A CURVE greeting, and all but the last byte of a command as large as a frame may be."""
    size = SocketOptions().max_frame_bytes
    made = _connected(target, count, _greeting(b"CURVE"))
    for each in made:
        each.settimeout(HANDSHAKE_S)
        each.sendall(struct.pack(">BQ", 6, size) + b"\x05HELLO" + bytes(size - 7))
    return made


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
    made = _dealers(target, count, None)
    for dealer in made[:-1]:
        # The same id again would take the place of the client before.
        dealer.send(to_frame(Hello(1, f"rc-{os.urandom(8).hex()}", os.urandom(8), b"")))
    return made


LOCKED: tuple[AttackFn, ...] = (
    half_open, without_curve, garbage, large_command, false_hello, unknown_key, known_key,
)  # fmt: skip
OPEN: tuple[AttackFn, ...] = (subscriptions, strange_words, lists, clients)

MOST: dict[AttackFn, int] = {large_command: 50}
"""How many at once, where more would need a machine of its own."""


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

    def memory(self) -> Memory:
        """What it holds now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        statm = Path(f"/proc/{self._process.pid}/statm").read_text()
        self._process.stdin.write(b"?\n")
        self._process.stdin.flush()
        in_use, blocks = json.loads(self._process.stdout.readline())
        return Memory(int(statm.split()[1]) * resource.getpagesize(), in_use, blocks)

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


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def holdings() -> tuple[int, int]:
    """What this process holds: bytes given out by malloc, and blocks by Python's allocator."""
    gc.collect()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return info.uordblks + info.hblkhd, sys.getallocatedblocks()


async def serve(folder: Path, locked: bool) -> None:
    """Be the source, and say what it holds whenever asked, until nobody asks any more."""
    lock: dict[str, Any] = {}
    if locked:
        lock = {"curve": Keys.load(folder / "source.key"), "authenticator": folder / "clients"}
    machine = Machine({f"State{n}": State() for n in range(20)}, id="target")
    loop = asyncio.get_running_loop()
    async with Mux(machine, heartbeat=3600.0, limits=Limits(handshake=HANDSHAKE_S), **lock) as mux:
        print(json.dumps([mux.addr, mux.feed_addr]), flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(holdings()), flush=True)


def measure(attack: AttackFn, count: int, waves: int, locked: bool, folder: Path) -> Cost:
    """Attack a fresh source."""
    source = Source(locked, folder)
    try:
        over(attack(source.target, max(1, count // 10)), source)  # what is made once for all
        before, cpu = source.memory(), source.cpu_s
        held = attack(source.target, count)
        source.settle()
        spent, kept = source.cpu_s - cpu, source.memory() - before
        over(held, source)
        for _ in range(1, waves // 2):
            over(attack(source.target, count), source)
        middle = source.memory()
        for _ in range(waves // 2):
            over(attack(source.target, count), source)
        end = source.memory()
    finally:
        source.stop()
    return Cost(
        name_of(attack), count, waves, 1e6 * spent / count, kept, middle - before, end - middle
    )


def over(held: Sequence[Any], source: Source) -> None:
    """Wait until a wave is over, its handshakes as well, and end it."""
    source.settle()
    time.sleep(HANDSHAKE_S)
    release(held)
    source.settle()


def name_of(attack: AttackFn) -> str:
    """What it is called in the table."""
    return attack.__name__.replace("_", " ")


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
    parser.add_argument("--count", type=int, default=500, help="tries in each wave")
    parser.add_argument("--waves", type=int, default=4, help="an even number (default: 4)")
    parser.add_argument("--only", help="the one attack of this name")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--locked", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.waves < 2 or options.waves % 2:
        parser.error(f"--waves {options.waves}: take an even number, as halves are compared")
    names = [name_of(attack) for attack in LOCKED + OPEN]
    if options.only not in (None, *names):
        parser.error(f"--only {options.only!r}: there are {', '.join(names)}")
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
                if options.only not in (None, name_of(attack)):
                    continue
                count = min(options.count, MOST.get(attack, options.count))
                costs.append(measure(attack, count, options.waves, locked, folder))
                if not options.json:
                    show(costs[-1])
    if options.json:
        print(json.dumps([asdict(cost) | {"flat": cost.flat} for cost in costs], indent=2))


def show(cost: Cost) -> None:
    """Two lines of the table: what a try costs, and what each half of the waves has left."""
    print(
        f"{cost.name:<16} {cost.count:>6} tries  {cost.cpu_us:>6.0f} us  each, and while held "
        f"{cost.held.in_use / cost.count:.0f} bytes, {cost.held.resident / cost.count:.0f} resident"
    )
    tries = cost.count * (cost.waves // 2)
    for half, left in (("first", cost.first_half), ("second", cost.second_half)):
        print(
            f"  {half:<6} {tries:>6} tries left {left.resident / 1024:>7.0f} KiB resident, "
            f"{left.in_use / tries:>8.1f} bytes and {left.blocks / tries:>6.2f} objects each"
        )
    print(f"  {'flat' if cost.flat else 'not flat'}", flush=True)


if __name__ == "__main__":
    main()
