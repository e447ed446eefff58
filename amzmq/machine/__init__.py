"""The engine: schema, clocks, relations, transitions, queue, handlers, waiting, tracing."""

from amzmq.machine.clock import Time, is_active_tick, next_active_in, next_inactive_in
from amzmq.machine.event import EXCEPTION_ARGS, Event, ExceptionArgs
from amzmq.machine.machine import Machine
from amzmq.machine.mutation import Mutation, Source
from amzmq.machine.observer import ClockObserver
from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result
from amzmq.machine.schema import EXCEPTION, Schema, State, StateName, States
from amzmq.machine.tracer import Tracer
from amzmq.machine.transition import Transition
from amzmq.machine.view import MachineView
from amzmq.machine.wait import StateCtx, Wait

__all__ = [
    "EXCEPTION",
    "EXCEPTION_ARGS",
    "ClockObserver",
    "Event",
    "ExceptionArgs",
    "Machine",
    "MachineView",
    "Mutation",
    "MutationType",
    "Result",
    "Schema",
    "Source",
    "State",
    "StateCtx",
    "StateName",
    "States",
    "Time",
    "Tracer",
    "Transition",
    "Wait",
    "is_active_tick",
    "next_active_in",
    "next_inactive_in",
]
