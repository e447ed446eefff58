"""Who is behind each connection of a bound socket, and the end of those who may not be there.

libzmq asks about a key once, when it connects. It offers nothing to end a connection later, but
it says with each message which key and which descriptor it came by. Shutting the descriptor
down is to libzmq as if the peer had hung up: it forgets the peer, its subscriptions included.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Hashable
from dataclasses import dataclass

import zmq

from amzmq.net.authenticator import NOBODY, Authenticator
from amzmq.net.curve import CurveCounts
from amzmq.net.log import callback_failed, log

# libzmq's manual discourages it for descriptors being used again; hence the inodes here.
SRCFD = int(zmq.SRCFD)

_PRUNE_FROM = 64


@dataclass(frozen=True, slots=True)
class Wire:
    """A connection's descriptor.

    Attributes:
        descriptor: Its number, which the system uses again once it is closed.
        inode: Tells it from a later one of the same number; 0 when it was closed already.
    """

    descriptor: int
    inode: int

    @classmethod
    def of(cls, part: zmq.Frame) -> Wire:
        """The one that a message came by."""
        try:
            descriptor = int(part.get(SRCFD))
        except zmq.ZMQError:
            descriptor = -1
        return cls(descriptor, _inode(descriptor))

    @property
    def open(self) -> bool:
        """Whether it is still there."""
        return self.inode != 0 and _inode(self.descriptor) == self.inode

    def cut(self, endpoint: str) -> bool:
        """Shuts down the connection, if it is still there and one of those to `endpoint`."""
        if not self.open:
            return False
        try:
            # A duplicate cannot be closed and given to somebody else between look and deed.
            connection = socket.socket(fileno=os.dup(self.descriptor))
        except OSError:
            return False
        with connection:
            if _inode(connection.fileno()) != self.inode or not _is_at(connection, endpoint):
                return False
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return False  # the peer was faster
        return True


@dataclass(frozen=True, slots=True)
class Seat:
    """A connection that was let in.

    Attributes:
        key: Its public key in Z85.
        user: The name that the key had then.
        wire: Its descriptor.
    """

    key: str
    user: str
    wire: Wire


class Gate:
    """Knows the user behind each connection of one bound socket.

    Args:
        kind: The socket, for the log.
        endpoint: Where it is bound.
        authenticator: Who may be there.
        counts: What happened, for all sockets of a transport.
    """

    __slots__ = ("_authenticator", "_counts", "_endpoint", "_kind", "_prune_at", "_seats")

    def __init__(
        self, kind: str, endpoint: str, authenticator: Authenticator, counts: CurveCounts
    ) -> None:
        self._kind = kind
        self._endpoint = endpoint
        self._authenticator = authenticator
        self._counts = counts
        self._seats: dict[Hashable, Seat] = {}
        self._prune_at = _PRUNE_FROM

    def admits(self, peer: Hashable, part: zmq.Frame) -> bool:
        """Whether a message may be heard; if not, its connection ends.

        Args:
            peer: What tells its connection from others.
            part: A part of the message.
        """
        seat = self._seats.get(peer)
        # A peer can choose the id that a router knows it by, so an id alone proves nothing.
        if seat is not None and property_of(part, "User-Id") == seat.key:
            return True
        return self._seat(peer, part)

    def user_of(self, peer: Hashable) -> str:
        """The user behind a connection; `NOBODY` if it is not, or no longer, let in."""
        seat = self._seats.get(peer)
        return NOBODY if seat is None else seat.user

    def forget(self, peer: Hashable) -> None:
        """The connection has ended by itself."""
        self._seats.pop(peer, None)

    def recheck(self) -> None:
        """Ends all connections whose key may not be there any more, or has another user now."""
        for peer, seat in list(self._seats.items()):
            if self._may_be(seat.key) != seat.user:
                self._end(peer, seat)

    def end(self, user: str) -> int:
        """Ends all connections of a user, who may come back; returns how many there were."""
        theirs = [(peer, seat) for peer, seat in self._seats.items() if seat.user == user]
        return sum(self._end(peer, seat) for peer, seat in theirs)

    def _end(self, peer: Hashable, seat: Seat) -> bool:
        del self._seats[peer]
        if not seat.wire.cut(self._endpoint):
            return False
        self._counts.ended += 1
        log.info("%s: ended a connection of %s, key %s", self._kind, seat.user, seat.key)
        return True

    def _seat(self, peer: Hashable, part: zmq.Frame) -> bool:
        key = property_of(part, "User-Id")
        wire = Wire.of(part)
        user = self._may_be(key)
        if user == NOBODY:
            reason = f"key {key!r} may not be there any more"
        elif peer in self._seats:
            reason = f"{user} uses the id of {self._seats[peer].user}"
        else:
            self._prune()
            self._seats[peer] = Seat(key, user, wire)
            return True
        self._counts.rejected += 1
        if wire.cut(self._endpoint):
            self._counts.ended += 1
            log.warning("%s: ended a connection: %s", self._kind, reason)
        return False

    def _may_be(self, key: str) -> str:
        """The user of a key now."""
        try:
            return self._authenticator.user(key) if key else NOBODY
        except Exception:
            callback_failed(self._kind, "the authenticator")
            return NOBODY

    def _prune(self) -> None:
        """Forgets connections that are gone, each time there are twice as many as after the last.

        Nobody tells a bound socket that a peer went away.
        """
        if len(self._seats) < self._prune_at:
            return
        self._seats = {peer: seat for peer, seat in self._seats.items() if seat.wire.open}
        self._prune_at = max(_PRUNE_FROM, 2 * len(self._seats))


def property_of(part: zmq.Frame, name: str) -> str:
    """A property of the connection that a message came by; "" if it has none of that name."""
    try:
        return str(part.get(name))
    except zmq.ZMQError:
        return ""


def _inode(descriptor: int) -> int:
    """The inode of an open descriptor, else 0."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _is_at(connection: socket.socket, endpoint: str) -> bool:
    """Whether it is a connection to `endpoint`, not some other socket of this process."""
    try:
        name = connection.getsockname()
    except OSError:
        return False
    if isinstance(name, tuple):
        return endpoint.startswith("tcp://") and endpoint.endswith(f":{name[1]}")
    return endpoint == "ipc://" + os.fsdecode(name).replace("\0", "@", 1)
