"""A policy applied by itself: who is let in to what, what is told, and whose rights changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from amzmq.errors import NoAccess, Refused
from amzmq.machine import Machine, MutationType, State
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.server import entitlement as module
from amzmq.rpc.server.entitlement import Entitlement, was_given
from amzmq.rpc.server.rights import Policy, PolicyInvalid, mask_of
from amzmq.rpc.server.server import ClientId
from amzmq.rpc.server.sources import Sources
from amzmq.wire.view import EVERYTHING, View

NAMES = ("A", "B", "SendPayload", "C", "Exception")


def machine(machine_id: str = "door") -> Machine:
    return Machine({name: State() for name in NAMES}, id=machine_id)


def applied(policy: Policy | None, *ids: str) -> Entitlement:
    """A policy applied to machines of these ids."""
    sources = Sources()
    for machine_id in ids or ("door",):
        sources.add(machine(machine_id), lambda *_: pytest.fail("nothing is published here"))
    return Entitlement(policy, sources, "SendPayload")


def user(name: str) -> ClientId:
    return ClientId(f"rc-{name}", b"12345678", name)


def info(source: Machine, *args: str) -> MachineInfo:
    active = tuple(source.active_states())
    return MachineInfo(
        source.id, len(source.state_names), sum(source.time()), active, (), "", (), 0, args
    )


# Which machines there are.


def test_without_a_policy_every_machine_is_for_everybody() -> None:
    here = applied(None, "door", "lamp")
    assert here.find("", "").id == "door"
    assert here.find("", "lamp").id == "lamp"
    with pytest.raises(Refused, match="no machine 'bell' here; there is: door lamp"):
        here.find("", "bell")
    infos = [info(machine("door")), info(machine("lamp"))]
    assert here.may_know("", iter(infos)) == infos
    assert here.admit(user("eve"), machine(), EVERYTHING) == (None, EVERYTHING)
    assert not here.is_admin("eve")
    assert here.changed() == set()


def test_who_asks_for_what_is_not_theirs_is_told_what_is() -> None:
    policy = Policy({"ann": {"machines": ["lamp", "bell*"]}, "bob": {"machines": ["*"]}})
    here = applied(policy, "door", "lamp", "bell")
    assert here.find("ann", "").id == "lamp"
    assert here.find("ann", "bell").id == "bell"
    with pytest.raises(NoAccess, match="machine 'door' is for ann; there is: lamp bell$"):
        here.find("ann", "door")
    with pytest.raises(Refused, match="no machine 'bell-2' here; there is: lamp bell$"):
        here.find("ann", "bell-2")
    with pytest.raises(NoAccess, match="no machine is for eve; there is: nothing$"):
        here.find("eve", "")
    with pytest.raises(NoAccess, match="machine 'lamp' is for who proves no key; there is: noth"):
        here.find("", "lamp")


def test_who_may_do_nothing_is_not_let_in() -> None:
    here = applied(Policy({"ann": {"machines": ["lamp"]}}), "door")
    with pytest.raises(NoAccess, match="nothing here is for ann$"):
        here.admit(user("ann"), machine(), EVERYTHING)
    with pytest.raises(NoAccess, match="nothing here is for rc-eve$"):
        here.admit(user("eve")._replace(user=""), machine(), EVERYTHING)


def test_an_admin_is_who_the_policy_says() -> None:
    here = applied(Policy({"ann": {"admin": True}, "bob": {}}))
    assert [name for name in ("ann", "bob", "eve", "") if here.is_admin(name)] == ["ann"]


# What may be seen.


def seen(table: dict[str, object], view: View = EVERYTHING) -> View:
    return applied(Policy({"ann": table})).admit(user("ann"), machine(), view)[1]


def test_a_view_is_cut_to_what_may_be_read() -> None:
    some: dict[str, object] = {"read": ["A", "B"]}
    assert seen({}) == EVERYTHING
    assert seen(some) == View(allowed=frozenset("AB"), schema=False)
    wanted = View(allowed=frozenset(["A", "C"]), skipped=frozenset(["B", "C"]))
    assert seen(some, wanted) == View(allowed=frozenset("A"), skipped=frozenset("B"), schema=False)
    assert seen({}, wanted) == wanted
    assert seen({"schema": False}) == View(schema=False)
    assert seen({"payload": False}) == View(payloads=False)


def test_the_rights_of_a_client_are_asked_for_when_they_are_needed() -> None:
    here = applied(Policy({"ann": {"mutate": ["New"]}}))
    source = machine()
    ask, _ = here.admit(user("ann"), source, EVERYTHING)
    assert ask is not None
    assert not ask().mutable
    source.set_schema({name: State() for name in (*NAMES, "New")}, (*NAMES, "New"))
    assert ask().mutable == mask_of([5])


def test_who_may_not_have_payloads_cannot_have_them_sent_but_do_all_else() -> None:
    for payload in (True, False):
        here = applied(Policy({"ann": {"mutate": True, "payload": payload}}))
        rights = here.on("ann", machine())
        may = [rights.may_mutate(MutationType.ADD, 1 << at) for at in range(len(NAMES))]
        assert may == [True, True, payload, True, True]


def test_a_machine_that_sends_no_payloads_is_mutated_as_a_whole() -> None:
    here = applied(Policy({"ann": {"mutate": True, "payload": False}}))
    source = Machine({"A": State()}, id="plain")
    assert here.on("ann", source).mutable == here.on("ann", source).every


def test_a_list_tells_of_the_states_that_may_be_read() -> None:
    source = machine()
    tables: dict[str, dict[str, object]] = {
        "ann": {"read": ["A", "B"]},
        "bob": {"schema": False},
        "cat": {},
        "dan": {"machines": []},
    }
    sources = Sources()
    sources.add(source, lambda *_: pytest.fail("nothing is published here"))
    here = Entitlement(Policy(tables), sources, "SendPayload")
    source.add("A", "C")
    source.remove("A")
    source.add("B")
    told = info(source, "A.user")

    def known(name: str) -> Sequence[MachineInfo]:
        return here.may_know(name, [told])

    assert known("cat") == [told]
    assert known("dan") == []
    (of_bob,) = known("bob")
    assert (of_bob.args, of_bob.states, of_bob.active) == ((), 5, told.active)
    (of_ann,) = known("ann")
    assert (of_ann.states, of_ann.time_sum, of_ann.active, of_ann.args) == (2, 3, ("B",), ())


# What changes.


def write(path: Path, **lines: str) -> None:
    path.write_text("".join(f"[{name}]\n{line}\n" for name, line in lines.items()))


def from_file(path: Path, *names: str, **lines: str) -> Entitlement:
    """A policy of a file, and users that were let in."""
    write(path, **lines)
    here = applied(Policy.load(path))
    for name in names:
        here.admit(user(name), machine(), EVERYTHING)
    return here


def test_whose_rights_have_changed_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "rights.toml"
    here = from_file(path, "ann", "bob", ann="", bob="", cat="")
    assert here.changed() == set()
    write(path, ann="read = ['A']", bob="", cat="admin = true")
    assert here.changed() == {"ann"}
    assert here.changed() == set()
    write(path, ann="read = ['A']", bob="mutate = true", cat="")
    assert here.changed() == {"bob"}
    write(path)
    assert here.changed() == set()


def test_who_was_let_in_again_is_told_again(tmp_path: Path) -> None:
    path = tmp_path / "rights.toml"
    here = from_file(path, "ann", ann="")
    for states in ("'A'", "'A', 'B'"):
        write(path, ann=f"read = [{states}]")
        assert here.changed() == {"ann"}
        here.admit(user("ann"), machine(), EVERYTHING)


def test_a_file_that_cannot_be_read_changes_nothing_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rights.toml"
    here = from_file(path, "ann", ann="")
    path.write_text("no toml")
    with caplog.at_level(logging.ERROR):
        assert here.changed() == set()
    assert "the rights stay as they were" in caplog.text
    assert here.find("ann", "").id == "door"
    write(path, ann="machines = []")
    assert here.changed() == {"ann"}


def test_of_more_users_than_are_kept_the_one_of_longest_ago_is_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "USERS_KEPT", 2)
    path = tmp_path / "rights.toml"
    here = from_file(path, "ann", "bob", "ann", ann="", bob="", cat="", dan="")
    assert here.changed() == set()
    here.admit(user("cat"), machine(), EVERYTHING)
    assert here.changed() == {"bob"}
    assert here.changed() == set()
    here.admit(user("dan"), machine(), EVERYTHING)
    path.write_text("no toml")
    assert here.changed() == {"ann"}
    here.admit(user("bob"), machine(), EVERYTHING)
    write(path, dan="admin = true", bob="", cat="admin = true")
    assert here.changed() == {"cat", "dan"}


def test_what_has_no_meaning_is_named_with_its_place() -> None:
    with pytest.raises(PolicyInvalid, match="unknown; there are machines read") as raised:
        Policy({"ann": {"reed": True}})
    assert raised.value.where == "policy: ann.reed"


# Streams.


class Held:
    """A server of a user that was given a stream."""

    def __init__(self, name: str, stream: bytes) -> None:
        self.client = user(name)
        self._stream = stream

    def was_given(self, stream: bytes) -> bool:
        return stream == self._stream


def test_a_stream_is_for_those_it_was_given_to() -> None:
    servers: Any = [Held("ann", b"1"), Held("ann", b"2"), Held("bob", b"3")]
    given = {
        (name, topic) for name in ("ann", "bob", "eve") for topic in (b"1", b"2", b"3", b"4")
        if was_given(name, topic, servers)
    }  # fmt: skip
    assert given == {("ann", b"1"), ("ann", b"2"), ("bob", b"3")}
    assert was_given("", b"4", servers)
    assert not was_given("ann", b"1", [])
