"""The first bytes that whoever listens at an address says, before any key or message.

Every ZeroMQ socket greets with 64 bytes (ZMTP 3, rfc.zeromq.org/spec/23) that also name its
security. libzmq itself only tells that a handshake failed, not why: so they are read here.
"""

from __future__ import annotations

import asyncio
import enum
import re
from dataclasses import dataclass

from amzmq.errors import AddressInvalid

_TCP = re.compile(r"^tcp://(\[[^\]]+\]|[^:/\s]+):(\d{1,5})$")
_SIGNATURE_BYTES = 10
_GREETING_BYTES = 64
_MECHANISM = slice(12, 32)
# Signature and version 3.0. Not our mechanism: a peer with another one hangs up on it, and perhaps
# before it has named its own.
_OURS = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00"


class Voice(enum.Enum):
    """Who is at an address, by its first bytes."""

    NOBODY = "nobody"
    """The connection is refused, or cannot be made."""
    UNREACHED = "unreached"
    """Nothing comes back at all: a firewall, or no such host."""
    SILENT = "silent"
    """It takes the connection and says nothing."""
    FOREIGN = "foreign"
    """What it says is not ZeroMQ, or it hangs up."""
    ZEROMQ = "zeromq"
    """It is a ZeroMQ socket."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What was heard.

    Attributes:
        voice: Who is there.
        mechanism: The security that a ZeroMQ socket wants, e.g. NULL or CURVE; "" otherwise.
        detail: What the system said, or the first bytes.
    """

    voice: Voice
    mechanism: str = ""
    detail: str = ""


async def greet(addr: str, timeout: float) -> Greeting:
    """Connect, and hear who is there.

    Args:
        addr: ``tcp://host:port`` or ``ipc://path``.
        timeout: Seconds to connect, and as many again for the greeting.

    Raises:
        AddressInvalid: It is neither.
    """
    where = _place(addr)
    try:
        async with asyncio.timeout(timeout):
            if isinstance(where, str):
                reader, writer = await asyncio.open_unix_connection(where)
            else:
                reader, writer = await asyncio.open_connection(*where)
    except TimeoutError:
        return Greeting(Voice.UNREACHED, detail=f"no answer within {timeout:g} s")
    except OSError as error:
        return Greeting(Voice.NOBODY, detail=error.strerror or str(error))
    try:
        return await _listen(reader, writer, timeout)
    finally:
        writer.transport.abort()


def check_address(addr: str) -> None:
    """Refuse what no source can be served at from another process.

    Raises:
        AddressInvalid: It is such an address.
    """
    _place(addr)


def _place(addr: str) -> str | tuple[str, int]:
    """Where to connect: a path, or a host and port."""
    path = addr.removeprefix("ipc://")
    if path != addr and path:
        return "\0" + path[1:] if path.startswith("@") else path
    found = _TCP.match(addr)
    if found is None:
        raise AddressInvalid(addr, "neither tcp://HOST:PORT nor ipc://PATH")
    if not 1 <= int(found[2]) <= 65535:
        raise AddressInvalid(addr, "a port here is between 1 and 65535")
    return found[1].strip("[]"), int(found[2])


async def _listen(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
) -> Greeting:
    heard = b""
    writer.write(_OURS)
    try:
        async with asyncio.timeout(timeout):
            while len(heard) < _GREETING_BYTES:
                part = await reader.read(_GREETING_BYTES - len(heard))
                heard += part
                if not part or not _may_be_zeromq(heard):
                    return Greeting(Voice.FOREIGN, detail=_shown(heard))
    except TimeoutError:
        return Greeting(Voice.FOREIGN if heard else Voice.SILENT, detail=_shown(heard))
    except OSError as error:
        return Greeting(Voice.FOREIGN, detail=error.strerror or str(error))
    mechanism = heard[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")
    return Greeting(Voice.ZEROMQ, mechanism)


def _may_be_zeromq(heard: bytes) -> bool:
    if heard[0] != 0xFF:
        return False
    return len(heard) < _SIGNATURE_BYTES or heard[_SIGNATURE_BYTES - 1] & 1 == 1


def _shown(heard: bytes) -> str:
    return f"its first bytes are {heard[:20]!r}" if heard else "it hangs up"
