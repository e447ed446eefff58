"""The reference's netmach tests: states and relations, run at the source, seen at the replica.

tests/rpc/README.md maps the names. Every mutation is made by the replica, over TCP.
"""

from __future__ import annotations

import pytest

from amzmq import pipes
from amzmq.errors import StateUnknown
from amzmq.machine import Event, Machine, Result, State

from .sources import NAMES, Link, Links, no_rels, rels, soon, until


async def linked(link: Links, **states: State) -> Link:
    return await link(no_rels(**states))


async def test_single_state_active(link: Links) -> None:
    it = await linked(link)
    await it.net.add("A")
    assert it.net.active_states() == it.source.active_states() == ["A"]


async def test_multiple_states_active(link: Links) -> None:
    it = await linked(link)
    await it.net.add("A")
    await it.net.add("B")
    assert it.net.active_states() == it.source.active_states("A", "B") == ["A", "B"]


async def test_all_state_names_are_exposed(link: Links) -> None:
    it = await linked(link)
    assert it.net.state_names == it.source.state_names == NAMES


async def test_set_replaces(link: Links) -> None:
    it = await linked(link)
    await it.net.add("A")
    assert await it.net.set("B") == Result.EXECUTED
    assert it.net.active_states() == ["B"]
    assert it.net.time() == (0, 2, 1, 0, 0, 0)


async def test_add_keeps(link: Links) -> None:
    it = await linked(link)
    await it.net.add("A")
    assert await it.net.add("B") == Result.EXECUTED
    assert it.net.time() == (0, 1, 1, 0, 0, 0)


async def test_remove_drops(link: Links) -> None:
    it = await linked(link)
    await it.net.add("B", "C")
    assert await it.net.remove("C") == Result.EXECUTED
    assert it.net.active_states() == ["B"]
    assert it.net.time() == (0, 0, 1, 2, 0, 0)


async def test_an_unknown_state_raises_before_anything_is_sent(link: Links) -> None:
    it = await linked(link)
    it.wire.clear()
    with pytest.raises(StateUnknown, match="Unknown"):
        await it.net.add("A", "Unknown")
    assert it.wire.requests() == []


async def test_remove_relation(link: Links) -> None:
    it = await linked(link, C=State(remove="D"))
    await it.net.add("D")
    assert await it.net.add("C") == Result.EXECUTED
    assert it.net.active_states() == ["C"]


async def test_remove_relation_simultaneous(link: Links) -> None:
    it = await linked(link, C=State(remove="D"))
    await it.net.add("D")
    assert await it.net.set("C", "D") == Result.CANCELED
    assert it.net.active_states() == it.source.active_states() == ["D"]


@pytest.mark.parametrize("change", ["set", "add"])
@pytest.mark.parametrize("ways", ["one", "both"])
async def test_remove_relation_cross_blocking(link: Links, change: str, ways: str) -> None:
    it = await linked(link, C=State(remove="D"), D=State(remove="C"))
    await it.net.set("D")
    for state in "C" if ways == "one" else "CD":
        assert await getattr(it.net, change)(state) == Result.EXECUTED
        assert it.net.active_states() == it.source.active_states() == [state]


async def test_add_relation(link: Links) -> None:
    it = await linked(link, A=State(remove="D"), C=State(add="D"))
    await it.net.set("C")
    assert it.net.active_states() == ["C", "D"]
    await it.net.set("A", "C")
    assert it.net.active_states() == ["A", "C"]


async def test_require_relation(link: Links) -> None:
    it = await linked(link, C=State(require="D"))
    assert await it.net.set("C", "D") == Result.EXECUTED
    assert it.net.active_states() == ["C", "D"]


async def test_require_relation_when_the_required_is_not_active(link: Links) -> None:
    it = await linked(link, C=State(require="D"))
    await it.net.set("A")
    await it.net.set("C", "A")
    assert it.net.active_states() == it.source.active_states() == ["A"]


async def test_auto_states_come_with_the_same_reply(link: Links) -> None:
    it = await linked(link, B=State(auto=True, require="A"))
    it.wire.clear()
    assert await it.net.add("A") == Result.EXECUTED
    assert it.net.active_states() == ["A", "B"]
    assert len(it.wire.requests()) == 1


async def test_switch(link: Links) -> None:
    it = await linked(link)
    await it.net.add("B", "C")
    assert it.net.switch("A", "C", "B") == "C"
    assert it.net.switch("A", "D") == ""


async def test_regression_remove_cross_blocked_by_implied(link: Links) -> None:
    it = await linked(link, A=State(remove="B"), B=State(remove="A"), Z=State(add="B"))
    await it.net.set("Z")
    assert it.net.active_states() == ["B", "Z"]


async def test_regression_implied_block_by_being_removed(link: Links) -> None:
    it = await linked(
        link,
        Dry=State(remove="Wet"),
        Water=State(add="Wet", remove="Dry"),
        Wet=State(require="Water"),
    )
    await it.net.set("Dry")
    await it.net.set("Water")
    assert it.net.active_states() == ["Water", "Wet"]


async def test_partial_auto(link: Links) -> None:
    it = await linked(link, C=State(auto=True, require="B"), D=State(auto=True, require="B"))
    for _ in range(2):
        await it.net.add("A")
        assert it.net.active_states() == it.source.active_states() == ["A"]
    assert it.net.time() == (0, 1, 0, 0, 0, 0)


async def test_is(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A", "B")
    assert net.is_("A", "B")
    assert net.is_("A")
    assert not net.is_("A", "C")


async def test_not_is_false_if_partly_active(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A", "B")
    assert net.not_("C", "D")
    assert not net.not_("A", "C")
    assert not net.not_("A", "B")


async def test_any(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A", "B")
    assert net.any_("C", "A")
    assert net.any_(("C", "D"), ("A", "B"))
    assert not net.any_(("A", "C"))
    assert not net.any_("C", "D")


INSPECTION = """\
0 Exception
    |Tick     0
    |Multi    true
1 A
    |Tick     1
    |Auto     true
    |Require  C
0 B
    |Tick     0
    |Multi    true
    |Add      C
1 C
    |Tick     1
    |After    D
0 D
    |Tick     0
    |Add      C B
0 ErrOnClient
    |Tick     0
    |Require  Exception
"""

REORDERED = """\
1 D
    |Tick     1
    |Add      C B
1 A
    |Tick     3
    |Auto     true
    |Require  C
"""


async def test_inspect(link: Links) -> None:
    it = await link(rels())
    await it.net.add("C")
    assert it.net.inspect() == it.source.inspect() == INSPECTION
    await it.net.remove("C")
    await it.net.add("B")
    await it.net.add("D")
    assert it.net.inspect("D", "A") == it.source.inspect("D", "A") == REORDERED


async def test_string(link: Links) -> None:
    net = (await linked(link)).net
    await net.add("A", "B")
    assert str(net) == "(A:1 B:1)"
    assert net.string_all() == "(A:1 B:1) [Exception:0 C:0 D:0 ErrOnClient:0]"


async def test_nested_mutations_settle(link: Links) -> None:
    it = await linked(link)

    def state(e: Event) -> None:
        for _ in range(3):
            e.machine.add("B")
        for _ in range(2):
            e.machine.remove("B")

    it.source.bind({"AState": state})
    await it.net.add("A")
    assert it.net.active_states() == it.source.active_states() == ["A"]
    assert it.net.time() == it.source.time()


async def test_pipes(link: Links) -> None:
    it = await linked(link)
    local = Machine(it.source.schema, id="local")
    pipe = pipes.bind_any(it.net, local)
    await it.net.add("A")
    await it.net.add("B")
    await until(lambda: local.is_("A", "B"))
    await it.net.remove("A")
    it.source.add("C")
    await soon(local.when("C"))
    assert set(local.active_states()) == {"B", "C"}
    pipe.unbind()
    await it.net.add("D")
    assert local.not_("D")
