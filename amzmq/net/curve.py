"""What a transport does about CURVE: which sockets it secures, and what it refuses to open."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import zmq

from amzmq.errors import AddressInvalid, NetError
from amzmq.net.authenticator import Authenticator, AuthenticatorLike, authenticator_of
from amzmq.net.keys import Keys, PathLike, public_key
from amzmq.net.zmq_socket import ZmqRaw

_SCHEMES = ("tcp", "ipc", "inproc")


class Insecure(NetError):
    """A socket would be open to strangers; it was not made.

    Args:
        endpoint: Its address.
        reason: Why it would be.
        remedy: What to pass instead.
    """

    def __init__(self, endpoint: str, reason: str, remedy: str) -> None:
        self.endpoint = endpoint
        super().__init__(f"{endpoint!r} is not opened: {reason}; {remedy}")


@dataclass(slots=True)
class CurveCounts:
    """What became of those who wanted to connect; only ever grows.

    Attributes:
        accepted: Handshakes of keys that may connect.
        refused: Handshakes of keys that may not.
        rejected: Messages not heard, of connections that are to end.
        ended: Connections ended because their key may not connect any more.
    """

    accepted: int = 0
    refused: int = 0
    rejected: int = 0
    ended: int = 0

    def metrics(self) -> dict[str, int]:
        """The counters, by names that say what they are of."""
        return {
            "handshakes_accepted": self.accepted,
            "handshakes_refused": self.refused,
            "messages_rejected": self.rejected,
            "connections_ended": self.ended,
        }


class Curve:
    """The keys of a transport, and its rules for opening sockets.

    Args:
        keys: Its own; None connects with a new pair each time a transport is made.
        server_key: The public key of the source to connect to, in any form of `public_key`.
        authenticator: Who may connect to what it binds.
        required: Whether every socket must be secured, also on this host.
        insecure: Whether others than this host may reach a socket that is not secured.

    Raises:
        KeyFileError: A key's file cannot be read.
        KeyInvalid: A key is none.
    """

    __slots__ = ("_insecure", "_keys", "_required", "_server_key", "authenticator")

    def __init__(
        self,
        keys: Keys | None,
        server_key: bytes | PathLike | None,
        authenticator: AuthenticatorLike | None,
        required: bool,
        insecure: bool,
    ) -> None:
        self._server_key = None if server_key is None else public_key(server_key)
        self._keys = Keys.generate() if keys is None and self._server_key else keys
        self.authenticator: Authenticator | None = (
            None if authenticator is None else authenticator_of(authenticator)
        )
        self._required = required
        self._insecure = insecure

    def before_bind(self, sock: ZmqRaw, endpoint: str) -> None:
        """Secures a socket that is to be bound.

        Raises:
            Insecure: Strangers could connect.
            AddressInvalid: Nothing on this address can be secured.
        """
        if self.authenticator is None:
            self._check_open(endpoint)
            return
        if self._keys is None:
            raise Insecure(
                endpoint,
                "there is an authenticator and no keys to prove who we are",
                "pass curve=Keys.load('NAME.key')",
            )
        _check_not_inproc(endpoint)
        sock.setsockopt(zmq.CURVE_SERVER, 1)
        sock.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret.encode("ascii"))

    def before_connect(self, sock: ZmqRaw, endpoint: str) -> None:
        """Secures a socket that is to be connected.

        Raises:
            Insecure: It has to be secured, and the source's key is not known.
            AddressInvalid: It has to be secured, and nothing on this address can be.
        """
        if self._server_key is None or self._keys is None:
            if self._keys is not None or self._required:
                raise Insecure(
                    endpoint,
                    "the source could be anybody",
                    "pass server_key=, the path or the text of the source's public key",
                )
            return
        _check_not_inproc(endpoint)
        sock.setsockopt(zmq.CURVE_SERVERKEY, self._server_key.encode("ascii"))
        sock.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public.encode("ascii"))
        sock.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret.encode("ascii"))

    def _check_open(self, endpoint: str) -> None:
        """Refuses to bind what is not secured but ought to be."""
        if self._keys is not None:
            raise Insecure(
                endpoint,
                "there are keys, and nothing says who may connect",
                "pass authenticator=, a directory of *.pub files, or AnyKey() for everybody",
            )
        if self._required:
            reason = "every socket is to be secured"
        elif not self._insecure and not is_local(endpoint):
            if endpoint.partition("://")[0] not in _SCHEMES:
                raise AddressInvalid(endpoint, "unknown scheme")
            reason = "whoever reaches this address could read and change everything"
        else:
            return
        raise Insecure(
            endpoint,
            reason,
            "pass curve= and authenticator=, bind 127.0.0.1, or pass insecure=True where the "
            "network itself keeps strangers out",
        )


def is_local(endpoint: str) -> bool:
    """Whether only this host can reach an address once it is bound."""
    if endpoint.startswith(("ipc://", "inproc://")):
        return True
    scheme, _, rest = endpoint.partition("://")
    host, colon, _ = rest.rpartition(":")
    if scheme != "tcp" or not colon:
        # Without a port it is no address, and binding it says so.
        return scheme == "tcp"
    host = host.removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "lo")


def _check_not_inproc(endpoint: str) -> None:
    if endpoint.startswith("inproc://"):
        raise AddressInvalid(endpoint, "inproc knows no CURVE")
