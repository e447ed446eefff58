"""One mutation being processed (spec machine 4).

The order of the steps: resolve, negotiate, commit, final handlers, auto mutation. The plan
says what the relations want; this module is the general road, where handlers may object,
raise, or take too long, and where tracers look on.
"""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from typing import TYPE_CHECKING

from amzmq.errors import HandlerTimeout
from amzmq.machine.clock import Time
from amzmq.machine.event import Event, ExceptionArgs
from amzmq.machine.handlers import Bound, Call
from amzmq.machine.mutation import Mutation, Source
from amzmq.machine.plans import Outcome, Plan, auto_outcome, commit_deltas
from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result

if TYPE_CHECKING:
    from amzmq.machine.machine import Machine


_log = logging.getLogger("amzmq.machine")


class Transition:
    """The processing of one mutation; handlers and tracers see it.

    Attributes:
        machine: The machine it happens on.
        mutation: The request.
        is_accepted: Whether nothing has objected so far; final once `is_completed`.
        is_completed: Whether it has ended.
    """

    __slots__ = (
        "_after",
        "_before",
        "_id",
        "_outcome",
        "_plan",
        "is_accepted",
        "is_completed",
        "machine",
        "mutation",
    )

    def __init__(self, machine: Machine, mutation: Mutation, plan: Plan) -> None:
        self.machine = machine
        self.mutation = mutation
        self._plan = plan
        self._outcome = plan.outcome
        self._id = ""
        self._before: Time | None = None
        self._after: Time | None = None
        self.is_completed = False
        self.is_accepted = plan.accepted_as_check if mutation.is_check else plan.accepted

    # What handlers and tracers read.

    @property
    def id(self) -> str:
        """A random id of 16 hex digits."""
        if not self._id:
            self._id = secrets.token_hex(8)
        return self._id

    @property
    def type(self) -> str:
        """The kind of mutation: add, remove or set."""
        return str(self.mutation.type)

    @property
    def called(self) -> list[str]:
        """Names of the called states, in order of the call."""
        return self._names(self.mutation.called)

    @property
    def is_auto(self) -> bool:
        """Whether the auto mechanism made it."""
        return self.mutation.is_auto

    @property
    def is_check(self) -> bool:
        """Whether it is a dry run."""
        return self.mutation.is_check

    @property
    def source(self) -> Source | None:
        """Where the mutation came from."""
        return self.mutation.source

    @property
    def states_before(self) -> list[str]:
        """The states that were active before, in active order."""
        return list(self._plan.node.ordered_names)

    @property
    def target(self) -> list[str]:
        """The states that will be active, in their new order."""
        return self._names(self._outcome.target)

    @property
    def enters(self) -> list[str]:
        """The states whose entry handlers run; none when rejected."""
        return self._names(self._outcome.enters) if self._plan.accepted else []

    @property
    def exits(self) -> list[str]:
        """The states whose exit handlers run; none when rejected."""
        return self._names(self._outcome.exits) if self._plan.accepted else []

    @property
    def time_before(self) -> Time:
        """The machine's time before."""
        self.pin()
        assert self._before is not None
        return self._before

    @property
    def time_after(self) -> Time:
        """The machine's time after: a prediction before commit, the present one if canceled."""
        if self._after is not None:
            return self._after
        before = self.time_before
        if self.is_check or not self.is_accepted:
            return before
        ticks = list(before)
        for state, delta in self._outcome.deltas:
            ticks[state] += delta
        return Time(ticks)

    @property
    def clock_before(self) -> dict[str, int]:
        """`time_before` by name."""
        return dict(zip(self.machine.state_names, self.time_before, strict=True))

    @property
    def clock_after(self) -> dict[str, int]:
        """`time_after` by name."""
        return dict(zip(self.machine.state_names, self.time_after, strict=True))

    def mutation_str(self) -> str:
        """The mutation in short, e.g. ``[add] A B``, in index order."""
        return f"[{self.type}] {' '.join(self._names(tuple(sorted(self.mutation.called))))}"

    def __str__(self) -> str:
        lines = [f"tx#{self.id}", self.mutation_str()]
        if (source := self.mutation.source) is not None:
            lines.append(f"source: [{source.tx_id}]({source.machine_id}/t{source.time})")
        return "\n".join(lines)

    def pin(self) -> None:
        """Keep the time before, as somebody may look at it later.

        A copy of the clock costs as much as the schema is long, so it is only made for a
        transition that was seen by a tracer or taken out of `machine.transition()`.
        """
        if self._before is None:
            self._before = Time(self.machine._ticks)

    def _names(self, states: tuple[int, ...]) -> list[str]:
        names = self.machine.state_names
        return [names[state] for state in states]

    # Running it. Only the machine's drain calls this.

    def run(self) -> Result:
        """Process the mutation; returns the outcome for the caller (spec machine 4.10)."""
        machine = self.machine
        mutation = self.mutation
        tracers = machine._tracers
        if tracers:
            self.pin()
            for tracer in tracers:
                tracer.transition_init(self)
            for tracer in tracers:
                tracer.transition_start(self)
        handlers = machine._handlers
        if self.is_accepted and handlers is not None and handlers.ever_bound:
            accepted = self._negotiate_auto() if mutation.is_auto else self._negotiate()
            if not accepted:
                self.is_accepted = False
        if mutation.is_check:
            result = Result.EXECUTED if self.is_accepted else Result.CANCELED
        else:
            if self.is_accepted:
                self._commit_and_finish()
            if machine._on_change is not None:
                machine._on_change(machine, self.time_before, machine.time())
            result = self._plan.result if self.is_accepted else Result.CANCELED
            self._follow_with_auto()
        self._complete()
        return result

    def _complete(self) -> None:
        machine = self.machine
        if self._before is not None and self._after is None:
            committed = self.is_accepted and not self.is_check
            self._after = Time(machine._ticks) if committed else self._before
        self.is_completed = True
        for tracer in machine._tracers:
            tracer.transition_end(self)
        if self.is_accepted and not self.is_check:
            outcome = self._outcome
            machine._subs.process(
                outcome.activated,
                outcome.deactivated,
                machine._ticks,
                [state for state, _ in outcome.deltas],
                machine._queue_tick,
                machine.clock,
            )

    # Negotiation (spec machine 4.6).

    def _negotiate(self) -> bool:
        """Ask everybody; the first veto cancels."""
        outcome = self._outcome
        handlers = self._handlers
        for state in outcome.exits:
            if (bound := handlers.exit.get(state)) is not None and not self._ask(bound):
                return False
        for state in outcome.enters:
            if (bound := handlers.enter.get(state)) is not None and not self._ask(bound):
                return False
        if handlers.self_ and self.mutation.type is not MutationType.REMOVE:
            before = self._plan.node.states
            for state in outcome.target:
                bound = handlers.self_.get(state)
                if bound is not None and state in before and not self._ask(bound):
                    return False
        if handlers.cross:
            for bound in self._crossed(outcome.target):
                if not self._ask(bound[2]):
                    return False
        return handlers.any_enter is None or self._ask(handlers.any_enter)

    def _crossed(self, target: tuple[int, ...]) -> list[tuple[int, int, Bound]]:
        """Bound cross handlers from each state before to each target state, in that order."""
        order = self._plan.node.order
        rows = {state: at for at, state in enumerate(order)}
        columns = {state: at for at, state in enumerate(target)}
        found = [
            (rows[x], columns[y], bound)
            for (x, y), bound in self._handlers.cross.items()
            if x in rows and y in columns
        ]
        found.sort(key=lambda item: item[:2])
        return found

    def _negotiate_auto(self) -> bool:
        """Ask everybody; a veto of an auto state strikes only that state (spec 4.6.2)."""
        handlers = self._handlers
        auto = self.machine._compiled.auto_set
        provisional = self._plan.provisional
        target = list(provisional.target)
        for state in provisional.exits:
            if (bound := handlers.exit.get(state)) is not None and not self._ask(bound):
                return False
        for state in provisional.enters:
            if (bound := handlers.enter.get(state)) is not None and not self._ask(bound):
                if not self._strike(state, target, auto):
                    return False
        if not self._ask_selves(target, auto):
            return False
        walk = tuple(target)
        for _, column, bound in self._crossed(walk):
            if not self._ask(bound) and not self._strike(walk[column], target, auto):
                return False
        if not target or (handlers.any_enter is not None and not self._ask(handlers.any_enter)):
            return False
        if len(target) != len(provisional.target) and not self.is_check:
            plan = self._plan
            compiled = self.machine._compiled
            self._outcome = auto_outcome(compiled, plan.node, plan.called, target)
        return True

    def _strike(self, state: int, target: list[int], auto: frozenset[int]) -> bool:
        """Take a vetoing auto state out of the target; False if the veto cancels it all."""
        if state not in auto or self.is_completed:
            return False
        if state in target:
            target.remove(state)
        return True

    def _ask_selves(self, target: list[int], auto: frozenset[int]) -> bool:
        """The self handlers of an auto transition.

        Quirk of the reference: the list shrinks while it is walked, so the state after a struck
        one is not asked; and a veto on the last question cancels the whole transition.
        """
        before = self._plan.node.states
        last = True
        at = 0
        while at < len(target):
            state = target[at]
            at += 1
            if state not in before:
                continue
            bound = self._handlers.self_.get(state)
            last = bound is None or self._ask(bound)
            if not last and not self._strike(state, target, auto):
                return False
        return last

    def _ask(self, bound: Bound) -> bool:
        """Call one negotiation event's handlers; whether all of them agree."""
        event = Event(bound.name, self.mutation.args, self.machine, self)
        for call in bound.calls:
            finished, answer = self._call(call, bound.name, event)
            if not finished or (answer is False and bound.may_veto):
                return False
        return True

    # Commit and final handlers (spec machine 4.7 to 4.9).

    def _commit_and_finish(self) -> None:
        machine = self.machine
        outcome = self._outcome
        machine._commit(outcome.next, outcome.deltas, outcome.mask)
        if machine._subs.pending:
            machine._subs.expire_contexts((*outcome.activated, *outcome.deactivated))
        if machine._tracers:
            self._after = Time(machine._ticks)
            for tracer in machine._tracers:
                tracer.transition_finals(self)
        if machine._handlers is not None and machine._handlers.ever_bound:
            self._call_finals(outcome)
        elif machine._subs.args_waits:
            for state in outcome.enters:
                machine._subs.args_called(state, self.mutation.args)

    def _call_finals(self, outcome: Outcome) -> None:
        handlers = self._handlers
        subs = self.machine._subs
        for state in outcome.exits:
            bound = handlers.end.get(state)
            if bound is not None and not self._finish(bound, state):
                return
        for state in outcome.enters:
            bound = handlers.state.get(state)
            if bound is not None:
                self._finish(bound, state)
            if subs.args_waits:
                subs.args_called(state, self.mutation.args)
            if not self.is_accepted:
                return
        if handlers.any_state is not None:
            self._finish(handlers.any_state, None)

    def _finish(self, bound: Bound, state: int | None) -> bool:
        """Call one final event's handlers; False once the transition is canceled by one."""
        event = Event(bound.name, self.mutation.args, self.machine, self)
        for call in bound.calls:
            if call.is_async:
                self.machine._tasks.start(call, event, state)
                continue
            finished, _ = self._call(call, bound.name, event, state, final=True)
            if not finished:
                self.is_accepted = False
                return False
        return True

    def _follow_with_auto(self) -> None:
        """Prepend the auto mutation that a changed clock calls for."""
        if not self.is_accepted or self.mutation.is_auto or self._plan.health:
            return
        candidates = self.machine._node.auto
        if candidates and self._outcome.deltas:
            mutation = Mutation(MutationType.ADD, candidates, {}, is_auto=True)
            self.machine._prepend(mutation)

    # Calling, and what can go wrong (spec machine 5.3, 5.5, 5.6).

    @property
    def _handlers(self):  # type: ignore[no-untyped-def]
        return self.machine._handlers

    def _call(
        self,
        call: Call,
        name: str,
        event: Event,
        state: int | None = None,
        final: bool = False,
    ) -> tuple[bool, object]:
        """Call one function; (False, None) when it raised or took too long."""
        machine = self.machine
        for tracer in machine._tracers:
            tracer.handler_start(self, call.binding, name)
        started = time.perf_counter()
        try:
            answer = call.function(event)
            elapsed = time.perf_counter() - started
            if elapsed <= machine.handler_timeout:
                return True, answer
            self._timed_out(call, name, elapsed, state, final)
        except Exception as error:
            self._raised(error, name, state, final)
        finally:
            for tracer in machine._tracers:
                tracer.handler_end(self, call.binding, name)
        return False, None

    def _raised(self, error: Exception, name: str, state: int | None, final: bool) -> None:
        """A handler raised: cancel, take back what is not finished, add Exception."""
        machine = self.machine
        nested = machine._exception_index in self.mutation.called
        if final and not nested:
            self._recover(name, state, times=1 if state is None else 2)
        elif final:
            self._recover(name, state, times=1)
        self.is_accepted = False
        self.is_completed = True
        if nested:
            _log.error("[%s] %s raised while handling an error", machine.id, name, exc_info=error)
            return
        trace = ""
        if machine.log_stack_trace:
            trace = "".join(traceback.format_exception(error))
        details = ExceptionArgs(error, trace, tuple(self.called), tuple(self.states_before))
        machine._prepend_exception(details, Event(name, {}, machine, self).source())

    def _timed_out(
        self, call: Call, name: str, elapsed: float, state: int | None, final: bool
    ) -> None:
        """A handler took too long; Python cannot interrupt it, so it is judged afterwards."""
        machine = self.machine
        error = HandlerTimeout(
            f"handler timeout: {name} from {call.binding} took {elapsed:.3f} s, "
            f"{machine.handler_timeout:.3f} s allowed; make it async or fork the work"
        )
        machine._report_internal(error)
        if final and state is not None:
            self._recover(name, state, times=1)
        self.is_accepted = False
        if elapsed > machine.handler_deadline:
            machine._deadline_passed(error)

    def _recover(self, name: str, state: int | None, times: int) -> None:
        """Take the state whose final handler failed, and all after it, out again.

        An End handler or AnyState reverts nothing, but the commit is repeated all the same,
        and ticks called multi states once more each time (a quirk of the reference).
        """
        machine = self.machine
        order = (*self._outcome.exits, *self._outcome.enters)
        undone: frozenset[int] = frozenset()
        if state is not None and name.endswith("State"):
            undone = frozenset(
                order[len(self._outcome.exits) + self._outcome.enters.index(state) :]
            )
        for _ in range(times):
            node = machine._node
            target = tuple(s for s in node.order if s not in undone)
            deltas = commit_deltas(machine._compiled, node.states, target, self.mutation.called)
            mask = sum(1 << s for s, _ in deltas)
            machine._commit(machine._compiled.plans.node(target), deltas, mask)
