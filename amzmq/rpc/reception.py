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
from amzmq.rpc.admission import MakeServerFn, NewServerFn, ServerRequest
from amzmq.rpc.server import Server
from amzmq.rpc.sources import Sources, groups_of, path_of, served_id
from amzmq.wire.control import PROTOCOL_VERSION, Hello, Refusal, RefusalCode, Welcome
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.mux")


class Reception:
    """Decides who is served.

    Args:
        mach: The Mux's machine; NewServerErr is added to it.
        sources: The machines served.
        make_server: Makes a server, once it is decided of what.
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
        sources: Sources,
        make_server: MakeServerFn,
        new_server: NewServerFn,
        allow_ids: frozenset[str] | None,
        heartbeat_ms: int,
        request_limit: int,
        user_of: Callable[[bytes], str] = lambda peer: "",
    ) -> None:
        self.feed_addr = ""
        self.new_server_err: BaseException | None = None
        self._mach = mach
        self._sources = sources
        self._make_server = make_server
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
        try:
            request = ServerRequest(
                hello.client_id,
                hello.machine_id,
                View.from_value(hello.view),
                self._user_of(peer),
                peer,
                hello.incarnation,
                self._sources,
                self._make_server,
            )
            return self._new_server(request)
        except FrameInvalid as error:
            return Refusal(0, RefusalCode.BAD_REQUEST, str(error))
        except NoAccess as error:
            return self._deny(error.reason)
        except Refused as error:
            return Refusal(0, _CODES.get(type(error), RefusalCode.MACHINE_UNKNOWN), error.reason)
        except Exception as error:
            _log.exception("[%s] new_server failed for %s", self._mach.id, hello.client_id)
            self.new_server_err = error
            self._mach.add("NewServerErr", err=error)
            return self._deny(f"no server could be made for {hello.client_id}")

    def _deny(self, reason: str) -> Refusal:
        _log.warning("[%s] refused a client: %s", self._mach.id, reason)
        return Refusal(0, RefusalCode.NO_ACCESS, reason)

    def welcome(self, server: Server, hello: Hello, resumed: bool) -> Welcome:
        """What the client is told of its server."""
        stream = server.stream
        source = server.feed.source
        return Welcome(
            PROTOCOL_VERSION,
            stream.epoch,
            stream.stream_id,
            self.feed_addr,
            served_id(source),
            self._heartbeat_ms,
            None if hello.schema_hash == stream.schema_hash else stream.schema,
            resumed,
            self._request_limit,
            stream.scope.tracked,
            list(path_of(source)),
            groups_of(source, stream) or None,
        )


_CODES: dict[type[Refused], RefusalCode] = {
    SchemaMismatch: RefusalCode.SCHEMA,
    LimitExceeded: RefusalCode.LIMIT,
}
