"""The engine: schema, clocks, relations, transitions, queue, handlers, waiting, tracing."""

from amzmq.machine.args import (
    CHECK_ARGS,
    EXCEPTION_ARGS,
    Args,
    CheckArgs,
    ExceptionArgs,
    parse_args,
)
from amzmq.machine.clock import (
    Time,
    TimeIndex,
    is_active_tick,
    next_active_in,
    next_inactive_in,
)
from amzmq.machine.event import Event, EventCopy, HasSource
from amzmq.machine.logs import LogLevel, log_args
from amzmq.machine.machine import Machine
from amzmq.machine.mutation import Mutation, Position, QueuePlace, Source
from amzmq.machine.observer import ClockObserver, ClockReading
from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result
from amzmq.machine.schema import EXCEPTION, Schema, State, StateName, States
from amzmq.machine.schema_tools import (
    adjacent_states,
    extend,
    filter_by_tag,
    merge,
    prefix,
    schema_mermaid,
    states_by_tag,
)
from amzmq.machine.state_lists import (
    states_at,
    states_equal,
    states_hash,
    states_matching,
    states_shared,
    states_union,
    states_without,
)
from amzmq.machine.steps import Step, StepType
from amzmq.machine.tracer import LastTransition, Tracer
from amzmq.machine.transition import Transition
from amzmq.machine.view import MachineView
from amzmq.machine.wait import StateCtx, Wait

__all__ = [
    "CHECK_ARGS",
    "EXCEPTION",
    "EXCEPTION_ARGS",
    "Args",
    "CheckArgs",
    "ClockObserver",
    "ClockReading",
    "Event",
    "EventCopy",
    "ExceptionArgs",
    "HasSource",
    "LastTransition",
    "LogLevel",
    "Machine",
    "MachineView",
    "Mutation",
    "MutationType",
    "Position",
    "QueuePlace",
    "Result",
    "Schema",
    "Source",
    "State",
    "StateCtx",
    "StateName",
    "States",
    "Step",
    "StepType",
    "Time",
    "TimeIndex",
    "Tracer",
    "Transition",
    "Wait",
    "adjacent_states",
    "extend",
    "filter_by_tag",
    "is_active_tick",
    "log_args",
    "merge",
    "next_active_in",
    "next_inactive_in",
    "parse_args",
    "prefix",
    "schema_mermaid",
    "states_at",
    "states_by_tag",
    "states_equal",
    "states_hash",
    "states_matching",
    "states_shared",
    "states_union",
    "states_without",
]
