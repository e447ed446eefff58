"""Network namespaces as hosts, joined by a switch of ours with long cables that can be cut.

Each host has a namespace of its own and in it a TAP device, whose other end is a descriptor in
this process: what a host sends is read here as Ethernet frames, and handed on late or never.
So a cut is what it is in a building, silence, and delays need nothing of the kernel's (netem).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

TUN = Path("/dev/net/tun")
SUBNET = "10.77.0"

_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_FRAME_BYTES = 65_536
_BURST = 64
_PATIENCE_S = 10.0
_BROADCAST = b"\xff" * 6


class Unavailable(Exception):
    """This machine forbids namespaces, or lacks what they need."""


class Host:
    """A namespace with one cable to the switch.

    Args:
        name: What the test calls it.
        address: Its IP address.
        port: Its end of the cable.

    Attributes:
        namespace: Its name in `ip netns`, which no other run has.
    """

    def __init__(self, name: str, address: str, port: Port) -> None:
        self.name = name
        self.address = address
        self.namespace = f"amzmq-{secrets.token_hex(3)}-{name}"
        self.port = port

    def run(self, *command: str) -> tuple[str, ...]:
        """The command that runs another one on this host."""
        return ("ip", "netns", "exec", self.namespace, *command)

    def cut(self) -> None:
        """Cut its cable: nobody is told, nothing arrives."""
        self.port.is_cut = True

    def mend(self) -> None:
        """Join it again."""
        self.port.is_cut = False

    async def link(self, state: str) -> None:
        """Take its network device ``up`` or ``down``: its own programs are told."""
        await _ip(f"-n {self.namespace} link set eth0 {state}")


class Port:
    """One end of a TAP device, as the switch has it.

    Args:
        delay: Seconds that a frame takes on the cable, each way.

    Attributes:
        device: The name that the kernel gave the other end.
        is_cut: Whether frames are lost.
        lost: How many were: on a cut cable, or because the host takes none.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.is_cut = False
        self.is_closed = False
        self.lost = 0
        self.fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            asked = struct.pack("16sH22x", b"amzmq%d", _IFF_TAP | _IFF_NO_PI)
            told = fcntl.ioctl(self.fd, _TUNSETIFF, asked)
        except OSError:
            os.close(self.fd)
            raise
        self.device = told[:16].rstrip(b"\0").decode()

    def read(self) -> bytes | None:
        """A frame of the host; None if there is none now."""
        try:
            return os.read(self.fd, _FRAME_BYTES)
        except (BlockingIOError, OSError):  # an OSError: the device is down
            return None

    def write(self, frame: bytes) -> None:
        """Hand a frame to the host."""
        if self.is_closed:
            return
        try:
            if self.is_cut:
                raise BlockingIOError
            os.write(self.fd, frame)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Let go of the device, which ends it."""
        self.is_closed = True
        os.close(self.fd)


class Switch:
    """Hands on frames between ports, each as late as both cables make it.

    Attributes:
        frames: How many it handed on.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._ports: list[Port] = []
        self._known: dict[bytes, Port] = {}
        self._loop = asyncio.get_running_loop()

    def plug(self, port: Port) -> None:
        """Join a port."""
        self._ports.append(port)
        self._loop.add_reader(port.fd, self._on_frames, port)

    def close(self) -> None:
        """Let go of all ports."""
        for port in self._ports:
            self._loop.remove_reader(port.fd)
            port.close()

    def _on_frames(self, port: Port) -> None:
        for _ in range(_BURST):
            frame = port.read()
            if frame is None:
                return
            target, sender = frame[:6], frame[6:12]
            self._known[sender] = port
            if port.is_cut:
                port.lost += 1
                continue
            known = self._known.get(target)
            others = [known] if known is not None else self._ports
            for other in others:
                if other is not port:
                    self.frames += 1
                    self._loop.call_later(port.delay + other.delay, other.write, frame)


@asynccontextmanager
async def network(names: Iterable[str], delay: float) -> AsyncIterator[dict[str, Host]]:
    """Hosts by name, each with a cable of so many seconds; gone when the block ends.

    Raises:
        Unavailable: They cannot be had here.
    """
    _check()
    switch = Switch()
    hosts: dict[str, Host] = {}
    try:
        for number, name in enumerate(names, 1):
            try:
                port = Port(delay)
            except OSError as error:
                raise Unavailable(f"no TAP device: {error.strerror}") from error
            switch.plug(port)
            hosts[name] = Host(name, f"{SUBNET}.{number}", port)
            await _set_up(hosts[name])
        yield hosts
    finally:
        for host in hosts.values():
            await _tear_down(host)
        switch.close()


def _check() -> None:
    if os.geteuid() != 0:
        raise Unavailable("namespaces are made by root alone")
    if shutil.which("ip") is None:
        raise Unavailable("there is no ip command (iproute2)")
    if not TUN.exists():
        raise Unavailable(f"there is no {TUN}")


async def _set_up(host: Host) -> None:
    space, device = host.namespace, host.port.device
    try:
        await _ip(
            f"netns add {space}",
            f"link set {device} netns {space} name eth0",
            f"-n {space} addr add {host.address}/24 dev eth0",
            f"-n {space} link set lo up",
            f"-n {space} link set eth0 up",
        )
    except OSError as error:
        raise Unavailable(f"no namespaces: {error}") from error


async def _tear_down(host: Host) -> None:
    """Remove a host; what still runs there after a failure was started there by the test."""
    for pid in (await _ip(f"netns pids {host.namespace}")).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    await _ip(f"netns del {host.namespace}")


async def _ip(*commands: str) -> str:
    """What the last of these commands prints."""
    printed = b""
    for command in commands:
        process = await asyncio.create_subprocess_exec(
            *("ip", *command.split()),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_PATIENCE_S):
            printed, told = await process.communicate()
        if process.returncode:
            raise OSError(f"ip {command}: {told.decode().strip()}")
    return printed.decode()
