"""What a Mux answers to Hello: a server and a Welcome, or a Refusal with its reason."""

from __future__ import annotations

import logging
from collections.abc import Callable

from amzmq.errors import (
    FrameInvalid,
    LimitExceeded,
    NoAccess,
    Refused,
    SchemaMismatch,
)
from amzmq.machine import Machine
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.admission import FindFn, MakeServerFn, NewServerFn, ServerRequest
from amzmq.rpc.server.answers import Answers
from amzmq.rpc.server.followed_streams import FollowedStream
from amzmq.rpc.server.server import ClientId, Server
from amzmq.rpc.server.sources import groups_of, path_of, served_id
from amzmq.wire.codec import Value
from amzmq.wire.control import (
    PROTOCOL_VERSION,
    Follow,
    Followed,
    Hello,
    Refusal,
    RefusalCode,
    Welcome,
)
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.mux")


class Reception:
    """Decides who is served.

    Args:
        mach: The Mux's machine; NewServerErr is added to it.
        find: Finds the machine that a user wants.
        make_server: Makes a server, once it is decided of what.
        open_stream: Lets a client that has one follow one more machine.
        new_server: Decides that.
        allow_ids: The client ids that may come at all; None for all.
        heartbeat_ms: How often the Mux beats.
        request_limit: Bytes of the largest request it reads.
        user_of: Who a connection belongs to by its key; "" where that is not known.

    Attributes:
        feed_addr: Where the feed is published.
        new_server_err: What `new_server` raised last, refusals apart.
    """

    def __init__(
        self,
        mach: Machine,
        find: FindFn,
        make_server: MakeServerFn,
        open_stream: Callable[[ClientId, Machine | NetworkMachine, View], FollowedStream],
        new_server: NewServerFn,
        allow_ids: frozenset[str] | None,
        heartbeat_ms: int,
        request_limit: int,
        user_of: Callable[[bytes], str] = lambda peer: "",
    ) -> None:
        self.feed_addr = ""
        self.new_server_err: BaseException | None = None
        self._denied = 0
        self._mach = mach
        self._find = find
        self._make_server = make_server
        self._open_stream = open_stream
        self._welcomes = Answers()
        self._followed = Answers()
        self._new_server = new_server
        self._allow_ids = allow_ids
        self._heartbeat_ms = heartbeat_ms
        self._request_limit = request_limit
        self._user_of = user_of

    def hear(self, peer: bytes, hello: Hello) -> Server | Refusal:
        """The server for who says Hello, or why there is none."""
        if hello.version != PROTOCOL_VERSION:
            reason = f"protocol {hello.version}, this source speaks {PROTOCOL_VERSION}"
            return Refusal(0, RefusalCode.VERSION, reason)
        if self._allow_ids is not None and hello.client_id not in self._allow_ids:
            reason = f"{hello.client_id!r} is not among the clients that are served here"
            return self._deny(reason)
        client = ClientId(hello.client_id, hello.incarnation, self._user_of(peer))
        return self._decide(peer, client, hello.machine_id, hello.view, self._make_server)

    def follow(self, peer: bytes, server: Server, message: Follow) -> bytes | Refusal:
        """What a client is told that wants to follow one more machine.

        The same factory decides as at Hello; what it serves then is a stream of the server that
        the client has.
        """
        granted: list[FollowedStream] = []

        def add_stream(
            peer: bytes, client: ClientId, source: Machine | NetworkMachine, view: View
        ) -> Server:
            granted.append(self._open_stream(client, source, view))
            server.followed.add(granted[-1])
            return server

        answer = self._decide(peer, server.client, message.machine_id, message.view, add_stream)
        if isinstance(answer, Refusal):
            return answer._replace(request=message.request)
        if not granted:
            return self._deny(f"no stream of {message.machine_id!r}")._replace(
                request=message.request
            )
        return self._followed_frame(granted[-1], message)

    def _decide(
        self,
        peer: bytes,
        client: ClientId,
        machine_id: str,
        view: list[Value] | None,
        make_server: MakeServerFn,
    ) -> Server | Refusal:
        try:
            request = ServerRequest(
                client.name,
                machine_id,
                View.from_value(view),
                client.user,
                peer,
                client.incarnation,
                self._find,
                make_server,
            )
            return self._new_server(request)
        except FrameInvalid as error:
            return Refusal(0, RefusalCode.BAD_REQUEST, str(error))
        except NoAccess as error:
            return self._deny(error.reason)
        except Refused as error:
            return Refusal(0, _CODES.get(type(error), RefusalCode.MACHINE_UNKNOWN), error.reason)
        except Exception as error:
            _log.exception("[%s] new_server failed for %s", self._mach.id, client.name)
            self.new_server_err = error
            self._mach.add("NewServerErr", err=error)
            return self._deny(f"no server could be made for {client.name}")

    def _deny(self, reason: str) -> Refusal:
        # At 1, 2, 4, 8...: the log is not theirs to fill.
        self._denied += 1
        if self._denied & (self._denied - 1) == 0:
            text = "[%s] refused a client: %s (refused so far: %d)"
            _log.warning(text, self._mach.id, reason, self._denied)
        return Refusal(0, RefusalCode.NO_ACCESS, reason)

    @property
    def welcomes_encoded(self) -> int:
        """How many answers to Hello and Follow were encoded."""
        return self._welcomes.encoded + self._followed.encoded

    def welcome(self, server: Server, hello: Hello, resumed: bool) -> bytes:
        """What the client is told of its server, encoded: most clients are told the same."""
        stream, source = server.stream, server.feed.source
        schema = None if hello.schema_hash == stream.schema_hash else stream.schema
        path: list[Value] = list(path_of(source))
        groups = groups_of(source, stream) or None

        def make() -> Welcome:
            return Welcome(
                PROTOCOL_VERSION, stream.epoch, stream.stream_id, self.feed_addr,
                served_id(source), self._heartbeat_ms, schema, resumed, self._request_limit,
                stream.scope.tracked, path, groups,
            )  # fmt: skip

        stamp = stream.schema_hash, path, groups
        return self._welcomes.frame(
            stream, (resumed, schema is None), stamp, PROTOCOL_VERSION, make
        )

    def _followed_frame(self, followed: FollowedStream, message: Follow) -> bytes:
        stream, source = followed.stream, followed.feed.source
        schema = None if message.schema_hash == stream.schema_hash else stream.schema
        path: list[Value] = list(path_of(source))
        groups = groups_of(source, stream) or None

        def make() -> Followed:
            return Followed(
                0, stream.stream_id, stream.epoch, served_id(source), schema,
                stream.scope.tracked, path, groups,
            )  # fmt: skip

        return self._followed.frame(
            stream, schema is None, (stream.schema_hash, path, groups), message.request, make
        )


_CODES: dict[type[Refused], RefusalCode] = {
    SchemaMismatch: RefusalCode.SCHEMA,
    LimitExceeded: RefusalCode.LIMIT,
}
