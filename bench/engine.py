"""Local mutations: the engine alone, beside other state machines in Python."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from amzmq import Machine
from bench import peers
from bench.report import BenchError, Contestant, Figure, Ratio, Report, in_turn, summarize
from bench.scenario import SCHEMA, large_machine, small_machine

NAME = "engine"
RUNS = 9
OURS, TRANSITIONS, STATEMACHINE = "amzmq", "transitions", "python-statemachine"
PLAIN, HANDLERS = "no handlers", "two handlers"
RATE = ("state changes", "1/s")


@dataclass(frozen=True)
class Scale:
    """How much one run does.

    Attributes:
        pairs: There and back so often, of ours and of transitions.
        slow_pairs: The same of python-statemachine, which would take half a minute.
        states: Of the large schema.
        machines: To build.
        walk: Steps of the walk through random states.
    """

    pairs: int
    slow_pairs: int
    states: int
    machines: int
    walk: int


FULL = Scale(pairs=20_000, slow_pairs=1_500, states=1_000, machines=10_000, walk=20_000)
QUICK = Scale(pairs=50, slow_pairs=5, states=100, machines=50, walk=50)


def run(runs: int = RUNS, quick: bool = False) -> Report:
    """Measure ours and the peers in turn."""
    samples = in_turn(contestants(QUICK if quick else FULL), runs)
    ratios = [
        Ratio(f"{name}/{peer}", _rate(OURS, case), _rate(peer, case))
        for peer in (TRANSITIONS, STATEMACHINE)
        for name, case in (("engine", PLAIN), ("engine_handlers", HANDLERS))
    ]
    return summarize(NAME, samples, ratios)


def contestants(scale: Scale) -> list[Contestant]:
    """All that takes turns, those to compare next to each other."""
    return [
        partial(ours, PLAIN, scale),
        partial(transitions, PLAIN, scale),
        partial(python_statemachine, PLAIN, scale),
        partial(ours, HANDLERS, scale),
        partial(transitions, HANDLERS, scale),
        partial(python_statemachine, HANDLERS, scale),
        partial(ours, f"{scale.states:,} states", scale),
        partial(ours, "a pending wait", scale),
        partial(mixture, scale),
        partial(building, scale),
    ]


class CountingHandlers(peers.Calls):
    def CState(self, event: object) -> None:
        self.calls += 1

    def CEnd(self, event: object) -> None:
        self.calls += 1


def ours(case: str, scale: Scale) -> Mapping[Figure, float]:
    """The loop add C, remove C."""
    machine = large_machine(scale.states) if "states" in case else small_machine()
    handlers = CountingHandlers()
    if case == HANDLERS:
        machine.bind(handlers)
    wait = machine.when("I") if case == "a pending wait" else None
    _pairs(machine, 10)
    handlers.calls, tick = 0, machine.tick("C")
    seconds = _timed(partial(_pairs, machine, scale.pairs))
    _must_be(case, "ticks of C", machine.tick("C") - tick, 2 * scale.pairs)
    _must_be(case, "handler calls", handlers.calls, 2 * scale.pairs if case == HANDLERS else 0)
    if wait is not None:
        _must_be(case, "waits done", int(wait.done()), 0)
    machine.dispose()
    return {_rate(OURS, case): 2 * scale.pairs / seconds}


def transitions(case: str, scale: Scale) -> Mapping[Figure, float]:
    pairs, model = peers.transitions(case == HANDLERS)
    return _peer(TRANSITIONS, case, pairs, model, scale.pairs)


def python_statemachine(case: str, scale: Scale) -> Mapping[Figure, float]:
    pairs, model = peers.python_statemachine(case == HANDLERS)
    return _peer(STATEMACHINE, case, pairs, model, scale.slow_pairs)


def mixture(scale: Scale) -> Mapping[Figure, float]:
    """A walk through random states: the plans of a loop are few, of this one they are many."""
    machine = small_machine()
    chance = random.Random(1)
    names = [name for name in SCHEMA if name != "Exception"]
    walk = [
        (chance.choice((machine.add, machine.remove)), chance.choice(names))
        for _ in range(scale.walk)
    ]

    def go() -> None:
        for mutate, name in walk:
            mutate(name)

    return {Figure(OURS, "random states", "mutations", "1/s"): len(walk) / _timed(go)}


def building(scale: Scale) -> Mapping[Figure, float]:
    """Many machines of one schema, and what each of them holds."""
    case = f"{scale.machines:,} machines"
    seconds = _timed(partial(_build, scale.machines))
    gc.collect()
    # Tracing takes six times as long, hence on its own, and a tenth will do: all are alike.
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        machines = _build(scale.machines // 10)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    _must_be(case, "machines", len(machines), scale.machines // 10)
    return {
        Figure(OURS, case, "build all", "s"): seconds,
        Figure(OURS, case, "memory each", "KiB"): (after - before) / len(machines) / 1024,
    }


def _build(machines: int) -> list[Machine]:
    return [Machine(SCHEMA) for _ in range(machines)]


def _pairs(machine: Machine, pairs: int) -> None:
    add, remove = machine.add, machine.remove
    for _ in range(pairs):
        add("C")
        remove("C")


def _peer(
    system: str,
    case: str,
    pairs: peers.Pairs,
    model: peers.Calls | peers.StateMachineModel,
    count: int,
) -> Mapping[Figure, float]:
    pairs(10)
    model.calls = 0
    seconds = _timed(partial(pairs, count))
    _must_be(f"{system}, {case}", "callbacks", model.calls, 2 * count if case == HANDLERS else 0)
    return {_rate(system, case): 2 * count / seconds}


def _timed(call: Callable[[], object]) -> float:
    # Garbage of the one before must not be collected on the time of the next.
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _must_be(where: str, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise BenchError(f"{where}: {what}: {found}, not {wanted}")


def _rate(system: str, case: str) -> Figure:
    return Figure(system, case, *RATE)
