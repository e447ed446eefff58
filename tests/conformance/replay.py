"""Replays one conformance case on a machine. README.md, beside this file, describes a case."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from amzmq import Machine, Result, State
from amzmq.machine import Tracer
from amzmq.machine.view import MachineView

Case = Mapping[str, Any]
Step = Mapping[str, Any]

OPS = frozenset(
    ["add", "remove", "set", "toggle", "add_err", "add_err_state", "can_add", "can_remove"]
)
# Long enough that a busy machine never cancels a handler, which no case is about.
HANDLER_TIMEOUT = 60


class CaseError(ValueError):
    """The case is not of the format, so nothing can be said of the machine."""


class Nothing:
    """Stands for a value that one side does not have; null is a value."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = Nothing()


class Difference:
    """The first place where the machine and the case disagree."""

    def __init__(self, path: str, expected: object, got: object) -> None:
        self.path = path
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        return f"{self.path}: expected {_show(self.expected)}, got {_show(self.got)}"


def replay(case: Case) -> Difference | None:
    """Replay a case on a new machine and return the first difference, or None.

    Raises:
        CaseError: The case is not of the format.
    """
    check_form(case)
    return Replay(case).run()


def check_form(case: object) -> None:
    """Raise CaseError unless the case has what a replay needs and nothing it would pass over."""
    if not isinstance(case, dict):
        raise CaseError("a case is a JSON object")
    fields = {"id": str, "states": list, "schema": dict, "ordered": bool, "steps": list}
    for field, kind in fields.items():
        if not isinstance(case.get(field), kind):
            raise CaseError(f"{field!r} is missing or no {kind.__name__}")
    for i, step in enumerate(case["steps"]):
        if not isinstance(step, dict) or step.get("op") not in OPS:
            raise CaseError(f"steps[{i}] has no known 'op'")
        if missing := {"result", "time", "qtick"} - step.keys():
            raise CaseError(f"steps[{i}] lacks {', '.join(sorted(missing))}")
    for i, sub in enumerate(case.get("subs", [])):
        if not isinstance(sub, dict) or sub.get("kind") not in SUBSCRIBE or "fired" not in sub:
            raise CaseError(f"subs[{i}] has no known 'kind', or no 'fired'")
        if sub.get("before") not in range(len(case["steps"])):
            raise CaseError(f"subs[{i}].before is not the index of a step")


class Replay:
    """One case on one machine, step by step, for those who make the mutations elsewhere.

    Args:
        case: Checked by `check_form`.

    Attributes:
        machine: The machine, once started.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        # Where only some steps could have transitions, a step without them says: none.
        self.has_txs = any("txs" in step for step in case["steps"])
        self.machine: Machine
        self.txs: _Transitions
        self.has_fired: list[Callable[[], bool]] = []
        self.fired: list[int | str | None] = []

    def run(self) -> Difference | None:
        """Replay it all."""
        try:
            return self.start() or self.restore() or self._steps() or self.subscriptions()
        except Raised as error:
            return error.difference()

    def start(self) -> Difference | None:
        """Make the machine and bind what the case wants."""
        case = self.case
        with Guard("schema"):
            schema = {name: State(**properties) for name, properties in case["schema"].items()}
            self.machine = Machine(
                schema, id=case["id"], states=case["states"], handler_timeout=HANDLER_TIMEOUT
            )
        self.txs = _Transitions(self.machine)
        self.machine.bind_tracer(self.txs)
        if "handlers" in case:
            with Guard("handlers"):
                self.machine.bind(_handlers(case, self.machine, self.txs), id="case")
        return compare("states", case["states"], list(self.machine.state_names))

    def restore(self) -> Difference | None:
        """Import what the case starts from, if anything."""
        if "import" not in self.case:
            return None
        with Guard("import"):
            self.machine.import_(self._exported(self.case["import"]))
        return compare_snapshot("initial", self.case, self.case["initial"], self.machine)

    def _exported(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": self.machine.id,
            "state_names": list(self.case["states"]),
            "time": list(data["time"]),
            # Not in the cases, as it is not restored.
            "queue_tick": self.machine.queue_tick,
            "machine_tick": data["machine_tick"],
        }

    def _steps(self) -> Difference | None:
        for i, step in enumerate(self.case["steps"]):
            self.before(i)
            with Guard(f"steps[{i}]"):
                result = mutate(self.machine, step)
            if difference := self.after(i, result):
                return difference
        return None

    def before(self, step: int) -> None:
        """Get ready for a step."""
        with Guard(f"subs before steps[{step}]"):
            self._subscribe(step)
        self.txs.done.clear()

    def after(self, step: int, result: Result) -> Difference | None:
        """Compare what a step did."""
        self._see_fired(step)
        path, expected = f"steps[{step}]", self.case["steps"][step]
        # The transitions come first: where they differ, the rest only follows from it.
        if self.has_txs and (
            difference := compare(f"{path}.txs", expected.get("txs", []), self.txs.done)
        ):
            return difference
        return compare(f"{path}.result", expected["result"], str(result)) or compare_snapshot(
            path, self.case, expected, self.machine
        )

    def _subscribe(self, step: int) -> None:
        for sub in self.case.get("subs", []):
            if sub["before"] == step:
                has_fired = SUBSCRIBE[sub["kind"]](self.machine, sub)
                self.has_fired.append(has_fired)
                self.fired.append("immediate" if has_fired() else None)

    def _see_fired(self, step: int) -> None:
        for i, has_fired in enumerate(self.has_fired):
            if self.fired[i] is None and has_fired():
                self.fired[i] = step

    def subscriptions(self) -> Difference | None:
        """Compare what fired, and when."""
        # The order of creation; sorted() keeps that of the list among equals.
        created = sorted(enumerate(self.case.get("subs", [])), key=lambda pair: pair[1]["before"])
        differences = (
            compare(f"subs[{i}].fired", sub["fired"], got)
            for (i, sub), got in zip(created, self.fired, strict=True)
        )
        return next(filter(None, differences), None)


def compare_snapshot(
    path: str, case: Case, expected: Mapping[str, Any], machine: MachineView
) -> Difference | None:
    """Return the first difference between a recorded snapshot and a machine, or a replica."""
    if difference := compare(f"{path}.time", expected["time"], list(machine.time())):
        return difference
    if difference := _compare_active(f"{path}.active", case, expected, machine):
        return difference
    got = {
        "qtick": machine.queue_tick,
        "mtick": machine.machine_tick,
        "str": machine.string_all(),
    }
    differences = (
        compare(f"{path}.{field}", expected[field], value)
        for field, value in got.items()
        if field in expected
    )
    return next(filter(None, differences), None)


def _compare_active(
    path: str, case: Case, expected: Mapping[str, Any], machine: MachineView
) -> Difference | None:
    got = list(machine.active_states())
    # The order of activation is the source's own; it does not travel.
    if "active" in expected and case["ordered"] and isinstance(machine, Machine):
        return compare(path, expected["active"], got)
    # Not recorded: it still has to agree with the ticks.
    odd = [n for n, t in zip(case["states"], expected["time"], strict=True) if t % 2]
    return compare(path, sorted(expected.get("active", odd)), sorted(got))


def mutate(machine: Machine, call: Mapping[str, Any]) -> Result:
    """Make the mutation of a step, or of a handler."""
    result: Result = method_of(machine, call)()
    return result


def method_of(machine: MachineView, call: Mapping[str, Any]) -> Callable[[], Any]:
    """Return the mutation of a step, to be made on a machine or on a replica."""
    op = call["op"]
    states = call.get("states") or []
    method = getattr(machine, op)
    if op == "add_err":
        return partial(method, _CaseFault("add_err"))
    if op == "add_err_state":
        return partial(method, states[0], _CaseFault("add_err_state"))
    if "args" in call:
        return partial(method, *states, args=call["args"])
    return partial(method, *states)


class _CaseFault(Exception):
    """What the cases add as an error, and raise in handlers."""


class _Transitions(Tracer):
    """Collects the finished transitions, each with the log of its handlers."""

    id = "conformance"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.done: list[dict[str, Any]] = []
        # Keeps the transition too, so that its id() is not given to the next one.
        self._open: dict[int, tuple[Any, list[Any]]] = {}

    def log(self) -> list[Any]:
        """Return the log of the transition which calls a handler just now."""
        tx = self.machine.transition()
        return self._open.setdefault(id(tx), (tx, []))[1]

    def transition_end(self, tx: Any) -> None:
        called = list(tx.called)
        if tx.is_auto:
            called.sort(key=list(self.machine.state_names).index)
        # The cases say null for none.
        done: dict[str, Any] = {"type": str(tx.type), "called": called or None}
        if tx.is_auto:
            done["auto"] = True
        if tx.is_check:
            done["check"] = True
        done["accepted"] = tx.is_accepted
        done["after"] = list(tx.time_after)
        done["log"] = self._open.pop(id(tx), (tx, []))[1]
        self.done.append(done)


def _handlers(
    case: Case, machine: Machine, txs: _Transitions
) -> dict[str, Callable[[Any], bool | None]]:
    finals = {name + end for name in [*case["states"], "Any"] for end in ("State", "End")}
    return {
        name: _handler(case, name, machine, txs, is_final=name in finals)
        for name in case["handlers"]
    }


def _handler(
    case: Case, name: str, machine: Machine, txs: _Transitions, is_final: bool
) -> Callable[[Any], bool | None]:
    panics = case.get("panic", {}).get(name, [])
    rejects = case.get("reject", {}).get(name, [])
    nested = case.get("nested", {}).get(name, [])
    calls = 0

    def handler(_: Any) -> bool | None:
        nonlocal calls
        call = calls
        calls += 1
        log = txs.log()
        if call in panics:
            log.append([name, "panic"])
            raise _CaseFault("panic")
        verdict = None if is_final else not (rejects == "always" or call in rejects)
        log.append([name] if is_final else [name, verdict])
        for mutation in nested:
            if call in mutation["calls"]:
                log.append([name, *_nested(machine, mutation)])
        return verdict

    return handler


def _nested(machine: Machine, mutation: Mapping[str, Any]) -> list[Any]:
    result = mutate(machine, mutation)
    entry = [mutation["op"], mutation.get("states"), str(result)]
    if str(result) == "queued":
        entry.append(int(result))
    return entry


# Each subscribes, and returns what tells whether it has fired.
_Subscribe = Callable[[Any, Mapping[str, Any]], Callable[[], bool]]


def _min_tick(name: str, tick: int) -> Callable[[Mapping[str, int]], bool]:
    return lambda clock: clock[name] >= tick


def _state_ctx(machine: Any, sub: Mapping[str, Any]) -> Callable[[], bool]:
    ctx = machine.state_ctx(sub["states"][0])
    return lambda: ctx.expired


SUBSCRIBE: dict[str, _Subscribe] = {
    "when": lambda m, sub: m.when(*sub["states"]).done,
    "when_not": lambda m, sub: m.when_not(*sub["states"]).done,
    "when_time": lambda m, sub: m.when_time(_times(sub)).done,
    "when_ticks": lambda m, sub: m.when_ticks(sub["states"][0], sub["ticks"]).done,
    "when_next_active": lambda m, sub: m.when_next_active(sub["states"][0]).done,
    "when_err": lambda m, sub: m.when_err().done,
    "when_args": lambda m, sub: m.when_args(sub["states"][0], **sub.get("args", {})).done,
    "when_queue": lambda m, sub: m.when_queue(sub["tick"]).done,
    "when_query_min_tick": lambda m, sub: (
        m.when_query(_min_tick(sub["states"][0], sub["ticks"])).done
    ),
    "state_ctx": _state_ctx,
}


def _times(sub: Mapping[str, Any]) -> dict[str, int]:
    times = dict(zip(sub["states"], sub["times"], strict=True))
    if len(times) != len(sub["states"]):
        raise CaseError("when_time names a state twice")
    return times


class Raised(Exception):
    """The machine raised something."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path, text)
        self.path = path
        self.text = text

    def difference(self) -> Difference:
        """Return what it means for the case."""
        return Difference(self.path, "no exception", self.text)


class Guard:
    """Turns what the machine raises, whatever it is, into a difference at a path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, CaseError | Raised):
            raise Raised(self.path, repr(error)) from error


def compare(path: str, expected: object, got: object) -> Difference | None:
    """Return the first difference between two JSON values, depth first, or None."""
    if isinstance(expected, list) and isinstance(got, list):
        return _compare_items(
            (f"{path}[{i}]", _item(expected, i), _item(got, i)) for i in _indexes(expected, got)
        )
    if isinstance(expected, dict) and isinstance(got, dict):
        keys = [*expected, *(key for key in got if key not in expected)]
        return _compare_items(
            (f"{path}.{key}", expected.get(key, NOTHING), got.get(key, NOTHING)) for key in keys
        )
    # In Python, 1 equals True; in JSON it does not.
    if expected != got or isinstance(expected, bool) != isinstance(got, bool):
        return Difference(path, expected, got)
    return None


def _compare_items(items: Iterable[tuple[str, object, object]]) -> Difference | None:
    return next(filter(None, (compare(*item) for item in items)), None)


def _indexes(one: Sequence[object], other: Sequence[object]) -> range:
    return range(max(len(one), len(other)))


def _item(values: Sequence[object], i: int) -> object:
    return values[i] if i < len(values) else NOTHING


def _show(value: object) -> str:
    return json.dumps(value, default=repr) if not isinstance(value, Nothing) else repr(value)
