"""Pipes: what one machine's states do to another's (spec machine 9.9).

A pipe is a final handler bound on the *source* that mutates the *target*. Either side may be a
machine of this process or a replica of one elsewhere: whatever satisfies `Api`.

When the target is mutated:
    Never within the source's transition, so that the target can neither block nor cancel it; the
    flat pipes and `bind_any` with a local target are the exceptions. The handlers of all pipes of
    a source, which run one at a time, write into one outbox, and one reader at a time empties it
    from the front: what the source did first arrives first, whatever the target and the state.
    If a pipe is bound where an event loop runs, the reader is a callback of that loop
    (`loop.call_soon`, in a turn of its own), whichever thread mutates the source later: choosing
    anew for each change would let a change of another thread overtake those that wait for the
    loop. Without a loop the reader is the thread that mutated the source, as soon as its queue is
    empty. So a target that is a replica wants its pipes bound on its own event loop.

When the target cannot be mutated:
    A replica may have no connection, an argument may have no form on the wire. The error is
    added to the source (`add_err`, with the pipe as a note), to the target if only that is local,
    and is logged if neither is. A pipe does not carry the failures of its own.

Two machines piped to each other both ways settle, unless the states are multi: these tick each
other for ever.

>>> from amzmq import Machine, State, pipes
>>> engine, car = Machine({"Running": State()}), Machine({"Moving": State()})
>>> pipe = pipes.bind(engine, car, "Running", "Moving")
>>> engine.add("Running"), str(car)
(Result.EXECUTED, '(Moving:1)')
"""

from amzmq.pipes.bindings import (
    Pipe,
    bind,
    bind_any,
    bind_connected,
    bind_err,
    bind_many,
    bind_ready,
    bind_start,
    pipes_of,
    sync,
)
from amzmq.pipes.handlers import PipeEvent, PipeHandler, add, add_flat, remove, remove_flat

__all__ = [
    "Pipe",
    "PipeEvent",
    "PipeHandler",
    "add",
    "add_flat",
    "bind",
    "bind_any",
    "bind_connected",
    "bind_err",
    "bind_many",
    "bind_ready",
    "bind_start",
    "pipes_of",
    "remove",
    "remove_flat",
    "sync",
]
