"""Every error of amzmq, and what to do about each.

    AmzmqError
    ├── MachineError                 the engine refused what it was told
    │   ├── SchemaError              give up: the schema contradicts itself
    │   ├── StateUnknown             give up: no state of that name in the schema
    │   ├── InvalidArgs              give up: an argument has the wrong form
    │   ├── BindError                give up: handlers or a tracer cannot be bound or detached
    │   ├── HandlerTimeout           retry: a handler ran longer than it may
    │   ├── EvalTimeout              retry: an eval got no turn in time
    │   ├── NestedEval               give up: an eval inside of a handler can never run
    │   ├── Canceled                 retry: the transition was canceled
    │   └── BlockingWait             give up: a blocking wait on the event loop's own thread
    ├── WireError                    a peer sent what cannot be read
    │   ├── FrameInvalid             resync: a frame that no version of the protocol has
    │   ├── BlobDamaged              retry: a blob is not what was offered (amzmq.wire.blobs)
    │   └── FrameTooLarge            give up: larger than the limit of the side that reads it
    ├── NetError                     the sockets
    │   ├── AddressInUse             give up: somebody else listens there
    │   ├── AddressInvalid           give up: not an endpoint
    │   ├── Insecure                 give up: it would be open to strangers (amzmq.net.curve)
    │   ├── KeyInvalid               give up: not a key (amzmq.net.keys)
    │   ├── KeyFileError             give up: a key's file is unusable (amzmq.net.keys)
    │   └── ForkedError              give up: sockets do not survive a fork; make new ones
    └── RpcError                     the conversation between a client and a source
        ├── NotConnected             retry: no source to talk to at this moment
        │   └── DestinationUnknown   retry: no client of that name is connected
        ├── ConnectFailed            give up: all attempts to reach the source failed
        ├── CallTimeout              look first: no answer in time, after all retries
        │   └── TimedOut             look first: a blocking call's own timeout (amzmq.blocking)
        ├── OutcomeUnknown           look first: the source restarted; it may have run or not
        ├── PolicyInvalid            give up: rights that have no meaning (amzmq.rpc.server.rights)
        ├── PersistFailed            give up: clocks cannot be kept (amzmq.rpc.server.clock_file)
        ├── Refused                  give up: the source refuses, and says why
        │   ├── NoAccess             give up: this client may not
        │   ├── SchemaMismatch       give up: the schema or the view of it does not fit
        │   └── LimitExceeded        slow down: too many, too much or too fast
        ├── RelayLoop                give up: a relay would follow itself (amzmq.rpc.relay.upstream)
        ├── AddrFileFailed           give up: a REPL's address file (amzmq.rpc.repl)
        ├── DeliveryFailed           look first: the receiver made no use of a payload
        └── RemoteError              an error that a client added to the source's machine

`AmzmqError.remedy` holds the same advice for programs.
"""

from __future__ import annotations

import enum


class Remedy(enum.Enum):
    """What a program may do about an error without asking a person."""

    RETRY = "retry"
    RESYNC = "resync"
    LOOK_FIRST = "look first"
    GIVE_UP = "give up"


class AmzmqError(Exception):
    """Base of all errors that amzmq raises on purpose."""

    remedy: Remedy = Remedy.GIVE_UP


class MachineError(AmzmqError):
    """The engine refused what it was told."""


class SchemaError(MachineError):
    """The schema contradicts itself or is not a schema (spec machine 1.3)."""


class StateUnknown(MachineError):
    """A state name that the schema does not have (spec machine 3.3).

    Args:
        names: The unknown names.
        machine_id: The machine that was asked.
        known: The names it does have, for the message.
    """

    def __init__(self, names: tuple[str, ...], machine_id: str, known: tuple[str, ...]) -> None:
        self.names = names
        self.machine_id = machine_id
        listed = " ".join(known[:20]) + (" ..." if len(known) > 20 else "")
        super().__init__(
            f"missing states: {' '.join(map(str, names))} not defined in schema for "
            f"{machine_id}; it has: {listed}"
        )


class InvalidArgs(MachineError):
    """An argument has the wrong form; the message names it and shows a good one."""


class BindError(MachineError):
    """Handlers or a tracer cannot be bound or detached as asked."""


class HandlerTimeout(MachineError):
    """A handler ran longer than `handler_timeout` (spec machine 5.5)."""

    remedy = Remedy.RETRY


class Canceled(MachineError):
    """The transition was canceled; adding this error to a machine is itself canceled."""

    remedy = Remedy.RETRY


class BlockingWait(MachineError):
    """`Wait.wait()` was called on a thread that runs an event loop."""


class WireError(AmzmqError):
    """A peer sent what cannot be read."""


class FrameInvalid(WireError):
    """Bytes that are no message of this protocol."""

    remedy = Remedy.RESYNC


class FrameTooLarge(WireError):
    """A message larger than the limit; raised before it is sent where that is known."""


class NetError(AmzmqError):
    """The sockets."""


class AddressInUse(NetError):
    """Somebody else already listens on the address.

    Args:
        address: The endpoint that was to be bound.
        reason: What the system said.
    """

    def __init__(self, address: str, reason: str = "") -> None:
        self.address = address
        detail = f" ({reason})" if reason else ""
        super().__init__(
            f"address {address!r} is in use{detail}; stop the process that holds it, choose "
            "another, or bind port 0 to get a free one"
        )


class AddressInvalid(NetError):
    """The address is not an endpoint that can be bound or connected.

    Args:
        address: What was given.
        reason: What is wrong with it.
    """

    def __init__(self, address: str, reason: str = "") -> None:
        self.address = address
        detail = f": {reason}" if reason else ""
        super().__init__(
            f"{address!r} is not a usable address{detail}; write it like "
            "'tcp://127.0.0.1:7701' or 'ipc:///run/app.sock'"
        )


class ForkedError(NetError):
    """A socket was used in a process other than the one that made it.

    Args:
        component: What was used.
    """

    def __init__(self, component: str) -> None:
        super().__init__(
            f"{component} was made before a fork; sockets do not survive it: create a new "
            "Mux or Client in the child process"
        )


class RpcError(AmzmqError):
    """The conversation between a client and a source."""


class NotConnected(RpcError):
    """There is no source to talk to at this moment; nothing was sent."""

    remedy = Remedy.RETRY


class DestinationUnknown(NotConnected):
    """A payload's destination is no client that is connected; nothing was sent."""


class DeliveryFailed(RpcError):
    """A payload arrived, or its client left, but nobody made use of it (spec rpc 8).

    Args:
        name: Of the payload.
        destination: The client's id.
        reason: What the client said.
    """

    remedy = Remedy.LOOK_FIRST

    def __init__(self, name: str, destination: str, reason: str) -> None:
        self.name = name
        self.destination = destination
        self.reason = reason
        super().__init__(f"payload {name!r} was not taken by {destination}: {reason}")


class ConnectFailed(RpcError):
    """All attempts to reach the source failed; the message says what was tried."""


class CallTimeout(RpcError):
    """No answer came in time, after all retries; it may have run."""

    remedy = Remedy.LOOK_FIRST


class OutcomeUnknown(RpcError):
    """The source restarted while a call was in flight: it may have run, or not."""

    remedy = Remedy.LOOK_FIRST


class Refused(RpcError):
    """The source refuses for good and says why.

    Args:
        reason: The source's words.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"refused by the source: {reason}")


class NoAccess(Refused):
    """This client may not do what it asked for."""


class SchemaMismatch(Refused):
    """The schema that one side needs, or the view of it, does not fit the other's."""


class LimitExceeded(Refused):
    """Too many, too much or too fast; the reason names the limit."""

    remedy = Remedy.RETRY


class RemoteError(RpcError):
    """An error that a client added to the source's machine, as far as it can travel.

    Args:
        type_name: The class of the original error.
        message: Its text.
    """

    def __init__(self, type_name: str, message: str) -> None:
        self.type_name = type_name
        self.message = message
        super().__init__(f"{type_name}: {message}" if message else type_name)


class EvalTimeout(MachineError):
    """An `eval` got no turn within `eval_timeout`; its function was not run (spec machine 5.9)."""

    remedy = Remedy.RETRY


class NestedEval(MachineError):
    """An `eval` inside of a handler: it would wait for the handler, and that for it."""
