"""A pipe ends when it is unbound, and when either machine does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from amzmq import pipes
from amzmq.machine import Machine, State, merge
from amzmq.states import BasicStates, ConnectedStates

from .rig import hooks, machine, pair

SCHEMA = merge(BasicStates, ConnectedStates, {"A": State(), "B": State()})

BINDS: dict[str, Callable[[Machine, Machine], pipes.Pipe]] = {
    "bind": lambda s, t: pipes.bind(s, t, "A"),
    "bind_many": lambda s, t: pipes.bind_many(s, t, ["A", "B"]),
    "bind_err": lambda s, t: pipes.bind_err(s, t),
    "bind_start": lambda s, t: pipes.bind_start(s, t),
    "bind_ready": lambda s, t: pipes.bind_ready(s, t),
    "bind_connected": lambda s, t: pipes.bind_connected(s, t, connected="A"),
    "bind_any": lambda s, t: pipes.bind_any(s, t),
}

with_each_bind = pytest.mark.parametrize("bind", BINDS.values(), ids=BINDS)


def both() -> tuple[Machine, Machine]:
    return Machine(SCHEMA, id="src"), Machine(SCHEMA, id="dst")


def assert_nothing_left(*machines: Machine) -> None:
    for each in machines:
        assert each.handlers() == []
        assert pipes.pipes_of(each) == []
    assert hooks(machines) == 0


def change_everything(source: Machine) -> None:
    source.add("Start", "A", "B")
    source.add("Connected")
    source.add("Ready")
    source.add_err(ValueError("x"))
    source.set()


@with_each_bind
def test_an_unbound_pipe_leaves_nothing_behind(
    bind: Callable[[Machine, Machine], pipes.Pipe],
) -> None:
    source, target = both()
    pipe = bind(source, target)
    assert pipe.is_bound
    assert source.handlers() == [pipe.id]
    pipe.unbind()
    assert not pipe.is_bound
    assert_nothing_left(source, target)
    change_everything(source)
    assert target.queue_tick == 1


@with_each_bind
def test_unbinding_twice_is_unbinding_once(bind: Callable[[Machine, Machine], pipes.Pipe]) -> None:
    source, target = both()
    pipe, other = bind(source, target), bind(source, target)
    pipe.unbind()
    pipe.unbind()
    assert source.handlers() == [other.id]
    assert other.is_bound


@with_each_bind
def test_the_end_of_the_target_takes_the_pipe_off_the_source(
    bind: Callable[[Machine, Machine], pipes.Pipe],
) -> None:
    source, target = both()
    pipe = bind(source, target)
    target.dispose()
    assert target.is_disposed
    assert not pipe.is_bound
    assert_nothing_left(source)
    change_everything(source)
    assert source.tick("Exception") == 2


@with_each_bind
def test_the_end_of_the_source_takes_the_pipe_off_the_target(
    bind: Callable[[Machine, Machine], pipes.Pipe],
) -> None:
    source, target = both()
    pipe = bind(source, target)
    source.dispose()
    assert source.is_disposed
    assert not pipe.is_bound
    assert_nothing_left(target)
    pipe.unbind()


@with_each_bind
def test_a_pipe_of_a_disposed_machine_is_never_bound(
    bind: Callable[[Machine, Machine], pipes.Pipe],
) -> None:
    for disposed in (("src",), ("dst",), ("src", "dst")):
        source, target = both()
        for each in (source, target):
            if each.id in disposed:
                each.dispose()
        pipe = bind(source, target)
        assert not pipe.is_bound
        assert_nothing_left(source, target)


def test_unbinding_one_pipe_leaves_the_others() -> None:
    source, target = pair()
    pipe, other = pipes.bind(source, target, "A"), pipes.bind(source, target, "B")
    pipe.unbind()
    source.add("A", "B")
    assert target.active_states() == ["B"]
    assert pipes.pipes_of(target) == [other]


def test_the_id_of_an_unbound_pipe_is_free_again() -> None:
    source, target = pair()
    pipe = pipes.bind(source, target, "A")
    pipe.unbind()
    assert pipes.bind(source, target, "A").id == pipe.id


def test_a_binding_that_was_detached_by_its_id_is_unbound_all_the_same() -> None:
    source, target = pair()
    pipe = pipes.bind(source, target, "A")
    source.detach(pipe.id)
    pipe.unbind()
    assert_nothing_left(source, target)


def test_a_pipe_may_be_unbound_within_the_transition_that_it_carries() -> None:
    source, target = pair()
    pipe = pipes.bind(source, target, "A")
    source.bind({"AState": lambda e: pipe.unbind()})
    source.add("A")
    source.remove("A")
    assert target.is_("A")


def test_a_source_that_ends_with_start_tells_the_target_of_it() -> None:
    source, target = pair()
    pipes.bind_start(source, target)
    source.add("Start")
    source.dispose()
    assert source.is_disposed
    assert target.not_("Start")


def test_a_source_disposed_in_a_handler_is_carried_to_its_end() -> None:
    source, target = pair()
    pipes.bind_many(source, target, ["Start", "A"])
    source.add("Start")
    source.bind({"AState": lambda e: source.dispose()})
    source.add("A")
    assert source.is_disposed
    assert target.active_states() == ["A"]
    assert_nothing_left(target)


def test_machines_that_nobody_knows_any_more_take_their_pipes_along() -> None:
    source, target = pair()
    pipe = weakref.ref(pipes.bind(source, target, "A"))
    source.add("A")
    assert pipe() is not None
    del source, target
    gc.collect()
    assert pipe() is None


def test_a_target_may_end_while_it_is_piped_to() -> None:
    source, target = machine("src"), machine("dst")
    pipes.bind_many(source, target, ["A", "B"])
    target.bind({"AState": lambda e: target.dispose()})
    source.add("A", "B")
    assert target.is_disposed
    assert_nothing_left(source)
    assert not source.is_err()
