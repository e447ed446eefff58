"""Running a transition (spec machine 4).

The order of the steps: resolve, negotiate, commit, final handlers, auto mutation. The plan
says what the relations want; this module is the general road, where handlers may object,
raise, or take too long, and where tracers look on.
"""

from __future__ import annotations

import logging
import traceback
from time import perf_counter
from typing import TYPE_CHECKING, Final

from amzmq.errors import HandlerTimeout
from amzmq.machine.args import CHECK_ARGS, CheckArgs, ExceptionArgs
from amzmq.machine.clock import Time
from amzmq.machine.event import Event
from amzmq.machine.handlers import Bound, Call, Finish, Handlers, unhandled
from amzmq.machine.logs import LogLevel
from amzmq.machine.mutation import NO_ARGS, Mutation
from amzmq.machine.plans import Outcome, Plan, auto_outcome, commit_deltas
from amzmq.machine.resolver import MutationType
from amzmq.machine.result import Result
from amzmq.machine.steps import cancel_step, handler_step, resolution_steps
from amzmq.machine.tracer import tell
from amzmq.machine.transition import Transition
from amzmq.machine.workers import Job, Overdue

if TYPE_CHECKING:
    from amzmq.machine.engine import Engine


_log = logging.getLogger("amzmq.machine")

_EXECUTED = Result.EXECUTED
_CANCELED = Result.CANCELED


class _Failed:
    """A handler raised or took too long, so it has no answer."""


FAILED: Final = _Failed()


class RunningTransition(Transition):
    """A transition with what the machine's drain needs to run it."""

    __slots__ = ()

    def run(self) -> Result:
        """Process the mutation; returns the outcome for the caller (spec machine 4.10)."""
        machine = self.machine
        mutation = self.mutation
        if machine._watched:
            self._announce()
        handlers = machine._handlers
        if self.is_accepted and handlers is not None:
            program = handlers.programs.get(self._plan) or handlers.program(self._plan)
            if mutation.is_auto:
                self.is_accepted = self._negotiate_auto(handlers, bool(program.ask))
            else:
                for bound in program.ask:
                    if not self._ask(bound):
                        self.is_accepted = False
                        break
        if mutation.is_check:
            result = _EXECUTED if self.is_accepted else _CANCELED
            self._complete()
            return result
        if self.is_accepted:
            self._commit_and_finish()
        if machine._on_change is not None:
            self._tell_change()
        result = self._plan.result if self.is_accepted else _CANCELED
        outcome = self._outcome
        if self.is_accepted and outcome.deltas and machine._node.auto:
            self._follow_with_auto()
        if self._seen_by is not None:
            self._complete()
        self.is_completed = True
        subs = machine._subs
        if self.is_accepted and (subs.always or subs.watched & outcome.mask):
            subs.process(
                outcome.activated,
                outcome.deactivated,
                machine._ticks,
                [state for state, _ in outcome.deltas],
                machine._queue_tick,
                machine.clock,
            )
        return result

    def _announce(self) -> None:
        """Tell those who watch that the transition starts."""
        self.pin()
        machine = self.machine
        if machine._log is not None:
            machine._log.begin(self)
        if machine._records(self.is_check):
            self._seen.steps = resolution_steps(machine._compiled, self)
        tell(machine._tracers, "transition_init", self)
        tell(machine._tracers, "transition_start", self)

    def _complete(self) -> None:
        """Tell those who watch that it has ended; keep the time after for them."""
        machine = self.machine
        if self.is_check:
            check = self.mutation.args.get(CHECK_ARGS)
            if isinstance(check, CheckArgs):
                check.complete(not self.is_accepted)
        seen = self._seen
        before = self.pin()
        if seen.after is None:
            committed = self.is_accepted and not self.is_check
            seen.after = Time(machine._ticks) if committed else before
        self.is_completed = True
        seen.queue_len = len(machine._queue.waiting)
        if machine._log is not None:
            machine._log.end(self)
        tell(machine._tracers, "transition_end", self)

    def _tell_change(self) -> None:
        machine = self.machine
        assert machine._on_change is not None
        try:
            machine._on_change(machine, self.time_before, machine.time())
        except Exception:
            _log.exception("[%s] the callback of on_change failed", machine.id)

    # Negotiation (spec machine 4.6).

    def _ask(self, bound: Bound) -> bool:
        """Call one negotiation event's handlers; whether all of them agree."""
        machine = self.machine
        event = Event(bound.name, self.mutation.args, machine, self)
        for call in bound.calls:
            if machine._disposing:
                return False
            answer = self._call(call, bound.name, event, None, False)
            if answer is FAILED:
                return False
            if answer is False and bound.may_veto:
                if machine._log is not None:
                    is_self = bound in self._handlers().self_.values()
                    label = "cancel:self" if is_self else "cancel"
                    machine._log.canceled(self, bound.name, label)
                self._note_cancel(bound.name)
                return False
        return True

    def _handlers(self) -> Handlers:
        handlers = self.machine._handlers
        assert handlers is not None
        return handlers

    def _negotiate_auto(self, handlers: Handlers, asks: bool) -> bool:
        """Ask everybody; a veto of an auto state strikes only that state (spec 4.6.2)."""
        auto = self.machine._compiled.auto_set
        provisional = self._plan.provisional
        if not asks:
            return bool(provisional.target)
        target = list(provisional.target)
        for state in provisional.exits:
            if (bound := handlers.exit.get(state)) is not None and not self._ask(bound):
                return False
        for state in provisional.enters:
            if (bound := handlers.enter.get(state)) is not None and not self._ask(bound):
                if not self._strike(state, target, auto):
                    return False
        if not self._ask_selves(handlers, target, auto):
            return False
        walk = tuple(target)
        for (_, column), bound in handlers.crossed(self._plan.node.order, walk):
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
        if state not in auto or not self.is_accepted:
            return False
        if state in target:
            target.remove(state)
        return True

    def _ask_selves(self, handlers: Handlers, target: list[int], auto: frozenset[int]) -> bool:
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
            bound = handlers.self_.get(state)
            last = bound is None or self._ask(bound)
            if not last and not self._strike(state, target, auto):
                return False
        return last

    # Commit and final handlers (spec machine 4.7 to 4.9).

    def _commit_and_finish(self) -> None:
        machine = self.machine
        outcome = self._outcome
        machine._commit(outcome.next, outcome.deltas, outcome.mask)
        self._applied = outcome.deltas
        subs = machine._subs
        if subs.watched & outcome.mask:
            subs.expire_contexts((*outcome.activated, *outcome.deactivated))
        if machine._watched:
            self._seen.after = Time(machine._ticks)
            if machine._log is not None:
                machine._log.committed(self, outcome)
            tell(machine._tracers, "transition_finals", self)
        # Looked up again: a negotiation handler may have bound further handlers.
        handlers = machine._handlers
        if handlers is None:
            finish: tuple[Finish, ...] = ()
        elif outcome is self._plan.outcome:
            program = handlers.programs.get(self._plan) or handlers.program(self._plan)
            finish = program.finish
        else:
            finish = handlers.finals(outcome)
        if subs.args_waits:
            self._finish_with_args(finish, outcome)
            return
        for bound, state in finish:
            if not self._finish(bound, state):
                return

    def _finish_with_args(self, finish: tuple[Finish, ...], outcome: Outcome) -> None:
        """The final handlers, and between them the waits for arguments.

        Every entered state is looked at, as these waits need no handler.
        """
        enters = iter(outcome.enters)
        entered = set(outcome.enters)
        subs = self.machine._subs
        for bound, state in finish:
            if state is None or state in entered:
                for other in enters:
                    if other == state:
                        break
                    subs.args_called(other, self.mutation.args)
            done = self._finish(bound, state)
            # A handler that raised has been called with them, one that took too long has not.
            if state is not None and state in entered and (done or self.is_completed):
                subs.args_called(state, self.mutation.args)
            if not done:
                return
        for other in enters:
            subs.args_called(other, self.mutation.args)

    def _finish(self, bound: Bound, state: int | None) -> bool:
        """Call one final event's handlers; False once the transition is canceled by one."""
        machine = self.machine
        event = Event(bound.name, self.mutation.args, machine, self)
        accepted = True
        for call in bound.calls:
            if machine._disposing:
                return False
            if not accepted:
                # The reference tells of the further bindings, though it does not call them.
                self._skipped(call, bound.name)
            elif call.loop is not None:
                self._start_task(call, event, state)
            elif self._call(call, bound.name, event, state, True) is FAILED:
                self.is_accepted = accepted = False
        return accepted

    def _skipped(self, call: Call, name: str) -> None:
        """A handler of a transition that another one has canceled."""
        machine = self.machine
        if machine._watched:
            tell(machine._tracers, "handler_start", self, call.binding, name)
            if machine._log is not None:
                machine._log.write(LogLevel.DECISIONS, f"[handler:invalid] {name}")
            tell(machine._tracers, "handler_end", self, call.binding, name)

    def _follow_with_auto(self) -> None:
        """Prepend the auto mutation that a changed clock calls for."""
        machine = self.machine
        if self.mutation.is_auto or self._plan.health or machine._disposing:
            return
        candidates = machine._node.auto
        if machine._log is not None:
            names = " ".join(self._names(candidates))
            machine._log.write(LogLevel.OPS, f"[auto] {names}")
            machine._log.kept_out(machine._node.order)
        machine._prepend(Mutation(MutationType.ADD, candidates, NO_ARGS, is_auto=True))

    # Calling, and what can go wrong (spec machine 5.3, 5.5, 5.6).

    def _call(self, call: Call, name: str, event: Event, state: int | None, final: bool) -> object:
        """Call one function; `FAILED` when it raised or took too long."""
        machine = self.machine
        watched = machine._watched
        if watched and not self._announce_call(call, name):
            return None
        started = perf_counter()
        try:
            answer: object = call.function(event)
            elapsed = perf_counter() - started
            if elapsed > machine.handler_timeout:
                self._timed_out(call, name, elapsed, state, final)
                return FAILED
            return answer
        except Overdue as overdue:
            self._overdue(overdue.job, call, name, state, final)
            return FAILED
        except Exception as error:
            if not machine.panic_to_exception:
                raise
            self._raised(error, name, state, final)
            return FAILED
        finally:
            if watched:
                self._call_ended(call, name)

    def _start_task(self, call: Call, event: Event, state: int | None) -> None:
        """Start an async handler; that is what the log and the tracers hear of."""
        watched = self.machine._watched
        if watched:
            self._announce_call(call, event.name)
        self.machine._start_task(call, event, state)
        if watched:
            self._call_ended(call, event.name)

    def _announce_call(self, call: Call, name: str) -> bool:
        """Tell those who watch of a call; False if nothing is to be called."""
        machine = self.machine
        log = machine._log
        if log is not None:
            log.write(LogLevel.EVERYTHING, f"[handle:{call.binding}] {name}")
        if call.function is unhandled:
            return False
        if log is not None:
            log.write(LogLevel.OPS, f"[handler:{call.number}] {name}")
        if (steps := self._seen.steps) is not None:
            step = handler_step(machine._compiled, name)
            if steps[-1:] != [step]:
                steps.append(step)
        tell(machine._tracers, "handler_start", self, call.binding, name)
        return True

    def _call_ended(self, call: Call, name: str) -> None:
        machine = self.machine
        if machine._log is not None:
            machine._log.write(LogLevel.EVERYTHING, f"[handler:end] {name}")
        tell(machine._tracers, "handler_end", self, call.binding, name)

    def _note_cancel(self, name: str) -> None:
        """Record the step that canceled, if steps are recorded."""
        if self._seen_by is not None and self._seen_by.steps is not None:
            step = handler_step(self.machine._compiled, name)
            self._seen_by.steps.append(cancel_step(step))

    def _raised(self, error: Exception, name: str, state: int | None, final: bool) -> None:
        """A handler raised: cancel, take back what is not finished, add Exception."""
        machine = self.machine
        nested = machine._exception_index in self.mutation.called
        if machine._log is not None:
            machine._log.write(LogLevel.OPS, "[recover] handling panic...")
            machine._log.canceled(self, "recover")
        self._note_cancel(name)
        if final:
            self._recover(name, state, times=1 if nested or state is None else 2)
        self.is_accepted = False
        self.is_completed = True
        if nested:
            _log.error("[%s] %s raised while handling an error", machine.id, name, exc_info=error)
            return
        trace = ""
        if machine.log_stack_trace:
            trace = "".join(traceback.format_exception(error))
        details = ExceptionArgs(error, trace, tuple(self.called), tuple(self.states_before))
        if machine._log is not None:
            machine._log.failed(self, error, trace)
        machine._prepend_exception(details, Event(name, {}, machine, self).source())

    def _timed_out(
        self, call: Call, name: str, elapsed: float, state: int | None, final: bool
    ) -> None:
        """A handler took too long; on this thread it cannot be interrupted, only judged."""
        error = self._report_timeout(call, name, f"took {elapsed:.3f} s")
        self._cancel_late(name, state, final)
        if elapsed > self.machine.handler_deadline:
            self.machine._deadline_passed(error, self, name)

    def _overdue(self, job: Job, call: Call, name: str, state: int | None, final: bool) -> None:
        """A handler on a thread of its own is waited for until the deadline (spec 5.5)."""
        machine = self.machine
        error = self._report_timeout(call, name, "still runs")
        grace = max(0.0, machine.handler_deadline - machine.handler_timeout)
        threads = machine._threads
        assert threads is not None
        has_returned = threads.wait(job, grace) or not threads.leave(job)
        self._cancel_late(name, state, final)
        if has_returned:
            job.report()
        else:
            if machine._log is not None:
                text = f"[handler:deadline] {name} from {call.binding}"
                machine._log.write(LogLevel.EVERYTHING, text)
            machine._deadline_passed(error, self, name)

    def _report_timeout(self, call: Call, name: str, how_long: str) -> HandlerTimeout:
        machine = self.machine
        error = HandlerTimeout(
            f"handler timeout: {name} from {call.binding} {how_long}, "
            f"{machine.handler_timeout:.3f} s allowed; make it async or fork the work"
        )
        if machine._log is not None:
            machine._log.canceled(self, "timeout")
            text = f"[handler:timeout]: {name} from {call.binding}"
            machine._log.write(LogLevel.DECISIONS, text)
        machine._report_internal(error)
        return error

    def _cancel_late(self, name: str, state: int | None, final: bool) -> None:
        """Cancel the transition after a timeout, and take back what is not finished."""
        self._note_cancel(name)
        if final and state is not None:
            self._recover(name, state, times=1)
        self.is_accepted = False

    def _recover(self, name: str, state: int | None, times: int) -> None:
        """Take the state whose final handler failed, and all after it, out again.

        An End handler or AnyState reverts nothing, but the commit is repeated all the same,
        and ticks called multi states once more each time (a quirk of the reference).
        """
        machine = self.machine
        outcome = self._outcome
        seen = self._seen
        if seen.after is None:
            seen.after = Time(machine._ticks)  # never corrected by what follows
        undone: frozenset[int] = frozenset()
        if state is not None and name.endswith("State"):
            undone = frozenset(outcome.enters[outcome.enters.index(state) :])
        for _ in range(times):
            node = machine._node
            target = tuple(s for s in node.order if s not in undone)
            deltas = commit_deltas(machine._compiled, node.states, target, self.mutation.called)
            mask = sum(1 << s for s, _ in deltas)
            machine._commit(machine._compiled.plans.node(target), deltas, mask)
            self._applied = (*self._applied, *deltas)
        if machine._log is not None:
            active = " ".join(machine._node.ordered_names)
            machine._log.write(LogLevel.OPS, f"[recover] partial final states as ({active})")


def check_transition(machine: Engine, mutation: Mutation, plan: Plan) -> RunningTransition:
    """The transition of a dry run, for which any called multi state is enough (spec 3.7)."""
    tx = RunningTransition(machine, mutation, plan)  # type: ignore[arg-type]  # it is a Machine
    tx.is_accepted = plan.accepted_as_check
    return tx
