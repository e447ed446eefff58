"""What a replica hands on of blobs: their offers down, and the requests for their chunks up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from amzmq.rpc.blobdesk import BlobDesk
from amzmq.rpc.replica.caller import Caller
from amzmq.wire.codec import Value

if TYPE_CHECKING:
    from amzmq.rpc.payload import Payload
    from amzmq.rpc.replica.netmach import NetworkMachine

OfferFn: TypeAlias = Callable[["NetworkMachine", "Payload", list[Value]], None]
"""Called with the replica, the payload that offers a blob, and the facts of that."""


class ReplicaBlobs:
    """The blobs of a replica's source, for those who serve the replica again.

    Args:
        caller: What carries the replica's calls to the source.
    """

    __slots__ = ("_caller", "_callbacks")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._callbacks: tuple[OfferFn, ...] = ()

    @property
    def desk(self) -> BlobDesk | None:
        """Gets chunks from where the replica comes from; None if nobody can."""
        return self._caller.blobs_above

    def on_offer(self, callback: OfferFn) -> None:
        """Call `callback` for each blob that everybody is offered, in order with payloads."""
        self._callbacks = (*self._callbacks, callback)

    def off_offer(self, callback: OfferFn) -> None:
        """Undo `on_offer`."""
        self._callbacks = tuple(other for other in self._callbacks if other != callback)

    def offered(self, net: NetworkMachine, payload: Payload, facts: list[Value]) -> bool:
        """Tell the callbacks; whether there was one."""
        for callback in self._callbacks:
            callback(net, payload, facts)
        return bool(self._callbacks)
