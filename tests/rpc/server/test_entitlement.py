"""What a policy lets each user see and do of a source that is served, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from amzmq.errors import NoAccess, Refused
from amzmq.machine import Machine, MutationType, Result, State
from amzmq.net import Keys, SocketOptions, ZmqTransport
from amzmq.rpc import Client, Mux, Policy, list_machines
from amzmq.wire.control import (
    Bye,
    Fetch,
    Follow,
    Followed,
    Hello,
    Message,
    Mutate,
    Refusal,
    RefusalCode,
    Sync,
    Watch,
    Watched,
    WatchKind,
    Welcome,
)
from amzmq.wire.control_frames import from_frame, to_frame
from tests.rpc.rig import ADDR, FEED, QUICK, Payloads, World, is_level, machine, soon, turns, until

CALM = 3600.0
BEAT = 0.05


class User:
    """A dealer of a user, that says what a test wants, and all that it was told."""

    def __init__(self, world: World, user: str, machine_id: str = "") -> None:
        self.user = user
        self.machine_id = machine_id
        self.heard: list[Message] = []
        self.dealer = world.network.transport(user).dealer(
            ADDR, lambda frame, blobs: self.heard.append(from_frame(frame)), lambda on: None
        )

    async def ask(self, message: Message) -> Message:
        await until(lambda: self.dealer.connected)
        self.heard.clear()
        self.dealer.send(to_frame(message))
        await until(lambda: self.heard)
        return self.heard[0]

    async def leave(self) -> None:
        self.dealer.send(to_frame(Bye("enough")))
        await turns()
        self.dealer.close()

    async def enter(self) -> Welcome:
        answer = await self.ask(Hello(1, f"rc-{self.user}", b"12345678", b"", self.machine_id))
        assert isinstance(answer, Welcome), answer
        await self.ask(Sync(1, b"", 0))
        return answer


def as_user(world: World, user: str, **options: Any) -> Client:
    """A client of a user, not started."""
    client = Client(ADDR, name=user, transport=world.network.transport(user), **(QUICK | options))
    world._stack.push_async_callback(client.stop)
    return client


async def followed_by(world: World, user: str, **options: Any) -> Client:
    """A client of a user, level with the source."""
    client = as_user(world, user, **options)
    client.start()
    await soon(client.ready())
    return client


async def denied(mux: Mux, count: int) -> None:
    assert mux.metrics()["denied"] == count


# Who gets in.


async def test_a_user_with_a_table_reads_everything_and_changes_nothing(world: World) -> None:
    mux = await world.serve(rights=Policy({"ann": {}}), heartbeat=CALM)
    ann = await followed_by(world, "ann")
    mux.source.add("A", "B")
    await soon(ann.net_mach.when("Auto"))
    with pytest.raises(NoAccess, match=r"ann may not add Multi of src"):
        await soon(ann.net_mach.add("Multi"))
    assert mux.source.not_("Multi")
    await denied(mux, 1)


@pytest.mark.parametrize("user", ["eve", ""])
async def test_a_user_without_a_table_gets_nothing_and_that_is_counted(
    world: World, user: str
) -> None:
    mux = await world.serve(rights=Policy({"ann": {}}), heartbeat=CALM)
    eve = as_user(world, user)
    eve.start()
    with pytest.raises(NoAccess, match=r"is for (eve|who proves no key); there is: nothing"):
        await soon(eve.ready())
    await denied(mux, 1)
    assert mux.clients == {}
    assert await list_machines(ADDR, transport=world.network.transport(user)) == []


async def test_without_a_policy_everybody_may_do_everything(world: World) -> None:
    await world.serve(heartbeat=CALM)
    client = await followed_by(world, "eve")
    assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED


# Machines.


async def test_a_machine_that_is_not_for_a_user_is_as_one_that_does_not_exist(
    world: World,
) -> None:
    policy = Policy({"ann": {"machines": ["lamp", "bell-*"]}})
    mux = await world.serve(machine("door"), rights=policy, heartbeat=CALM)
    mux.serve(machine("lamp"))
    errors = {}
    for machine_id in ("door", "nothing"):
        ann = as_user(world, "ann", machine=machine_id)
        ann.start()
        with pytest.raises(NoAccess) as raised:
            await soon(ann.ready())
        errors[machine_id] = raised.value.reason
    assert errors["door"].replace("door", "nothing") == errors["nothing"]
    assert errors["door"].endswith("there is: lamp")
    found = await list_machines(ADDR, transport=world.network.transport("ann"))
    assert [info.id for info in found] == ["lamp"]
    later = as_user(world, "ann", machine="bell-1")
    later.start()
    with pytest.raises(Refused, match="no machine 'bell-1' here; there is: lamp"):
        await soon(later.ready())


async def test_the_default_machine_is_the_first_that_the_user_may_have(world: World) -> None:
    policy = Policy({"ann": {"machines": ["lamp"]}})
    mux = await world.serve(machine("door"), rights=policy, heartbeat=CALM)
    mux.serve(machine("lamp"))
    assert (await followed_by(world, "ann")).net_mach.remote_id == "lamp"


# Reading.


async def test_a_list_says_no_more_of_a_machine_than_may_be_read(world: World) -> None:
    policy = Policy({"ann": {"read": ["A"]}, "bob": {"schema": False}, "boss": {}})

    class Typed:
        user: int

    mux = await world.serve(rights=policy, heartbeat=CALM, args=[Typed])
    mux.source.add("A", "B")
    (of_ann,) = await list_machines(ADDR, transport=world.network.transport("ann"))
    (of_bob,) = await list_machines(ADDR, transport=world.network.transport("bob"))
    (of_boss,) = await list_machines(ADDR, transport=world.network.transport("boss"))
    assert (of_ann.states, of_ann.time_sum, of_ann.active, of_ann.args) == (1, 1, ("A",), ())
    assert (of_bob.states, of_bob.active, of_bob.args) == (9, ("A", "B", "Auto"), ())
    assert of_boss.args == ("Typed.user",)


@pytest.mark.parametrize(
    "view",
    [
        None,
        [True, ["A", "B", "nothing"], [], False, False],
        [True, None, ["B", "nothing"], False, False],
        [False, None, [], False, True],
    ],
)
async def test_whatever_view_is_asked_for_only_what_may_be_read_is_told(
    world: World, view: list[object] | None
) -> None:
    policy = Policy({"ann": {"read": ["A", "Multi"]}})
    await world.serve(rights=policy, heartbeat=CALM)
    ann = User(world, "ann")
    answer = await ann.ask(Hello(1, "rc-ann", b"12345678", b"", "", view))
    assert isinstance(answer, Welcome)
    assert isinstance(answer.schema, list)
    names = {state[0] for state in answer.schema}
    assert names <= {"A", "Multi", "Exception"}
    assert all(state[1:] == answer.schema[0][1:] for state in answer.schema)  # no relations
    assert answer.groups is None
    await ann.leave()


async def test_states_that_come_later_are_not_told_to_whom_they_are_not_for(
    world: World,
) -> None:
    source = Machine({"A": State()}, id="src")
    policy = Policy({"ann": {"read": ["A", "Exception"]}, "bob": {"read": ["*"]}})
    await world.serve(source, rights=policy, heartbeat=CALM)
    ann, bob = await followed_by(world, "ann"), await followed_by(world, "bob")
    source.set_schema(
        {"A": State(), "Exception": State(multi=True), "Secret": State()},
        ("A", "Exception", "Secret"),
    )
    source.add("Secret", "A")
    await until(lambda: bob.net_mach.has("Secret"))
    await soon(bob.net_mach.when("Secret"))
    await soon(ann.net_mach.when("A"))
    assert not ann.net_mach.has("Secret")


async def test_who_may_not_have_the_schema_gets_names_without_relations(world: World) -> None:
    await world.serve(rights=Policy({"ann": {"schema": False}}), heartbeat=CALM)
    ann = await followed_by(world, "ann")
    assert ann.net_mach.state_names == machine().state_names
    assert not any(state.require or state.remove or state.auto for state in _states(ann))


def _states(client: Client) -> list[State]:
    return [State(**_fields(state)) for state in client.net_mach.schema.values()]


def _fields(state: State) -> dict[str, Any]:
    return {"require": state.require, "remove": state.remove, "auto": state.auto}


# Waiting.


async def test_a_wait_at_the_source_needs_the_right_to_read(world: World) -> None:
    policy = Policy({"ann": {"read": ["A"], "mutate": True}})
    mux = await world.serve(rights=policy, heartbeat=CALM)
    ann = User(world, "ann")
    welcome = await ann.enter()
    assert isinstance(welcome.schema, list)
    assert [state[0] for state in welcome.schema] == ["A", "Exception"]
    # Errors can be added by whoever may, seen or not, so the state has an index here.
    answer = await ann.ask(Watch(7, WatchKind.ARGS, [1], {"user": 1}, 0))
    assert isinstance(answer, Refusal)
    assert (answer.request, answer.code) == (7, RefusalCode.NO_ACCESS)
    assert "ann may not wait for Exception of src" in answer.reason
    await denied(mux, 1)
    ann.dealer.send(to_frame(Watch(8, WatchKind.ARGS, [0], {"user": 1}, 0)))
    await turns()
    mux.source.add("A", user=1)
    await until(lambda: any(isinstance(it, Watched) and it.request == 8 for it in ann.heard))
    await ann.leave()


async def test_who_may_read_nothing_may_not_wait_for_the_queue(world: World) -> None:
    await world.serve(rights=Policy({"ann": {"read": False, "admin": True}}), heartbeat=CALM)
    ann = User(world, "ann")
    await ann.enter()
    answer = await ann.ask(Watch(7, WatchKind.QUEUE_ENDS, [], None, 0))
    assert isinstance(answer, Refusal)
    assert answer.code == RefusalCode.NO_ACCESS
    await ann.leave()


# Mutating.


async def test_refused_mutations_without_reply_are_counted_as_well(world: World) -> None:
    mux = await world.serve(rights=Policy({"ann": {"mutate": ["A"]}}), heartbeat=CALM)
    ann = User(world, "ann")
    await ann.enter()
    ann.dealer.send(to_frame(Mutate(0, MutationType.ADD, [1], None, 0)))
    await until(lambda: mux.metrics()["denied"] == 1)
    assert mux.source.not_("B")
    await ann.leave()


async def test_a_further_machine_is_refused_and_counted(world: World) -> None:
    policy = Policy({"ann": {"machines": ["src"]}})
    mux = await world.serve(rights=policy, heartbeat=CALM)
    mux.serve(machine("other"))
    ann = User(world, "ann")
    await ann.enter()
    answer = await ann.ask(Follow(7, "other"))
    assert isinstance(answer, Refusal)
    assert (answer.request, answer.code) == (7, RefusalCode.NO_ACCESS)
    assert isinstance(await ann.ask(Follow(8, "src")), Followed)
    await denied(mux, 1)
    await ann.leave()


# Payloads.


async def test_who_may_not_have_payloads_gets_none_that_are_for_it_alone(world: World) -> None:
    policy = Policy({"ann": {"payload": False}, "bob": {}})
    mux = await world.serve(rights=policy, heartbeat=CALM)
    ann, bob = await followed_by(world, "ann"), await followed_by(world, "bob")
    taken = Payloads(ann), Payloads(bob)
    with pytest.raises(NoAccess, match="payload 'n': rc-ann may not receive any"):
        mux.send_payload("n", 1, "ann")
    with pytest.raises(NoAccess):
        await mux.send_blob("n", b"x", "ann")
    await soon(mux.send_payload("n", 2, "bob"))
    assert [each.data for each in taken] == [[], [2]]
    await denied(mux, 2)


async def test_who_may_not_have_payloads_gets_none_that_are_for_everybody(world: World) -> None:
    policy = Policy({"ann": {"payload": False}, "bob": {}})
    mux = await world.serve(rights=policy, heartbeat=CALM)
    ann, bob = await followed_by(world, "ann"), await followed_by(world, "bob")
    taken = Payloads(ann), Payloads(bob)
    mux.send_payload("n", 1)
    mux.source.add("A")
    mux.send_payload("n", 2)
    await until(lambda: len(taken[1].data) == 2 and is_level(ann, mux.source))
    await soon(ann.sync())
    assert taken[0].data == []
    assert (ann.metrics()["gaps"], ann.metrics()["payloads_lost"]) == (0, 0)


async def test_who_may_not_have_payloads_cannot_fetch_blobs(world: World) -> None:
    policy = Policy({"ann": {"payload": False}, "bob": {}})
    mux = await world.serve(rights=policy, heartbeat=CALM)
    await followed_by(world, "bob")
    offer = await mux.send_blob("n", b"secret", "bob")
    ann = User(world, "ann")
    await ann.enter()
    answer = await ann.ask(Fetch(offer.token, 0, 1))
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.token) == (RefusalCode.NO_ACCESS, offer.token)
    await denied(mux, 1)
    await ann.leave()
    offer.close()


async def test_who_may_not_have_payloads_cannot_have_them_sent(world: World) -> None:
    source = Machine({"SendPayload": State(multi=True), "A": State()}, id="src")
    mutate = {"mutate": True}
    policy = Policy({"ann": {"payload": False, **mutate}, "bob": mutate, "all": {}})
    mux = await world.serve(source, rights=policy, heartbeat=CALM)
    ann, bob = await followed_by(world, "ann"), await followed_by(world, "bob")
    taken = Payloads(bob)
    with pytest.raises(NoAccess, match="ann may not add SendPayload"):
        await soon(ann.net_mach.add("SendPayload", name="n", payload=1))
    assert await soon(ann.net_mach.add("A")) == Result.EXECUTED
    await soon(bob.net_mach.add("SendPayload", name="n", payload=2))
    await until(lambda: taken.all)
    assert taken.data == [2]
    await denied(mux, 1)


# Rights that change.


class Rights:
    """A policy in a file, which a test writes again."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path / "rights.toml"
        self._path.write_text(text)
        self.policy = Policy.load(self._path)

    def write(self, text: str) -> None:
        self._path.write_text(text + "\n# written again")


async def test_the_streams_of_a_user_die_with_the_rights_to_them(
    world: World, tmp_path: Path
) -> None:
    rights = Rights(tmp_path, "[ann]\n[bob]")
    mux = await world.serve(rights=rights.policy, heartbeat=BEAT)
    bob = await followed_by(world, "bob")
    stream_id = (await User(world, "ann").enter()).stream_id
    frames: list[bytes] = []
    spy = world.network.transport("ann").subscriber(FEED, frames.append)
    spy.subscribe(stream_id)
    await until(lambda: frames)
    rights.write("[ann]\nread = ['A']\n[bob]")
    await until(lambda: "rc-ann" not in mux.clients)
    frames.clear()
    refused = mux.counters.garbage
    again = world.network.transport("ann").subscriber(FEED, frames.append)
    again.subscribe(stream_id)
    await until(lambda: mux.counters.garbage > refused)
    mux.source.add("B")
    await until(lambda: is_level(bob, mux.source))
    assert frames == []
    assert bob.metrics()["connects"] == 1
    spy.close()
    again.close()


async def test_a_subscription_that_its_client_left_behind_dies_as_well(
    world: World, tmp_path: Path
) -> None:
    rights = Rights(tmp_path, "[ann]")
    mux = await world.serve(rights=rights.policy, heartbeat=BEAT)
    ann = User(world, "ann")
    stream_id = (await ann.enter()).stream_id
    frames: list[bytes] = []
    spy = world.network.transport("ann").subscriber(FEED, frames.append)
    spy.subscribe(stream_id)
    await until(lambda: frames)
    await ann.leave()
    await until(lambda: "rc-ann" not in mux.clients)
    rights.write("")
    await until(lambda: spy.publisher is None)
    frames.clear()
    mux.source.add("B")
    mux.flush()
    await turns()
    assert frames == []
    spy.close()


async def test_a_wait_ends_with_the_right_to_what_it_waits_for(
    world: World, tmp_path: Path
) -> None:
    rights = Rights(tmp_path, "[ann]")
    mux = await world.serve(rights=rights.policy, heartbeat=BEAT)
    ann = User(world, "ann")
    await ann.enter()
    ann.dealer.send(to_frame(Watch(7, WatchKind.ARGS, [1], {"user": 1}, 0)))
    await until(lambda: any(len(server.watches) for server in mux.servers))
    rights.write("[ann]\nread = ['A']")
    await until(lambda: mux.clients == {})
    again = User(world, "ann")
    await again.enter()
    assert [len(server.watches) for server in mux.servers] == [0]
    mux.source.add("B", user=1)
    await turns()
    assert not any(isinstance(message, Watched) for message in again.heard)
    await ann.leave()
    await again.leave()


async def test_payloads_that_wait_for_a_user_are_given_up_with_the_right_to_them(
    world: World, tmp_path: Path
) -> None:
    rights = Rights(tmp_path, "[ann]")
    mux = await world.serve(rights=rights.policy, heartbeat=BEAT)
    ann = User(world, "ann")
    await ann.enter()
    receipt = mux.send_payload("n", 1, "ann")
    rights.write("[ann]\npayload = false")
    await until(lambda: "rc-ann" not in mux.clients)
    again = User(world, "ann")
    await again.enter()
    assert receipt.done()
    assert not any(type(message).__name__ == "Directed" for message in again.heard)
    assert mux.metrics()["payloads_failed"] == 1
    await ann.leave()
    await again.leave()


# Keys.


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[tuple[Mux, Rights, AsyncExitStack]]:
    (tmp_path / "clients").mkdir()
    Keys.generate().save(tmp_path / "source.key")
    for name in ("ann", "bob"):
        Keys.generate().save(tmp_path / "clients" / f"{name}.key")
    rights = Rights(tmp_path, "[ann]\n[bob]")
    async with AsyncExitStack() as stack:
        mux = Mux(
            machine(),
            heartbeat=BEAT,
            curve=Keys.load(tmp_path / "source.key"),
            authenticator=tmp_path / "clients",
            rights=rights.policy,
        )
        await stack.enter_async_context(mux)
        yield mux, rights, stack


def by_key(tmp_path: Path, name: str) -> ZmqTransport:
    keys = Keys.load(tmp_path / "clients" / f"{name}.key")
    options = SocketOptions(reconnect_ms=10, reconnect_max_ms=40, linger_ms=50)
    return ZmqTransport(options, curve=keys, server_key=tmp_path / "source.pub")


async def test_over_tcp_a_revoked_user_hears_nothing_more_of_its_stream(
    locked: tuple[Mux, Rights, AsyncExitStack], tmp_path: Path
) -> None:
    mux, rights, stack = locked
    clients = {}
    for name in ("ann", "bob"):
        client = Client(mux.addr, name=name, transport=by_key(tmp_path, name), **QUICK)
        clients[name] = await stack.enter_async_context(client)
    stream_id = next(iter(mux._sources.feeds)).full.stream_id
    frames: list[bytes] = []
    transport = by_key(tmp_path, "ann")
    stack.push_async_callback(transport.close)
    transport.subscriber(mux.feed_addr, frames.append).subscribe(stream_id)
    await until(lambda: frames)
    assert mux.metrics()["handshakes_accepted"] == 5
    rights.write("[bob]")
    await until(lambda: list(mux.clients) == ["rc-bob"])
    await until(lambda: mux.metrics()["connections_ended"] >= 3)
    refused = mux.counters.garbage
    await until(lambda: mux.counters.garbage > refused)  # it subscribes again, in vain
    frames.clear()
    mux.source.add("A")
    await soon(clients["bob"].net_mach.when("A"))
    async with asyncio.timeout(10):
        await clients["bob"].sync()
    assert frames == []
    assert clients["ann"].net_mach.not_("A")


async def test_handshakes_of_strange_keys_are_among_the_metrics(
    locked: tuple[Mux, Rights, AsyncExitStack], tmp_path: Path
) -> None:
    mux, _, stack = locked
    transport = ZmqTransport(
        SocketOptions(linger_ms=50), curve=Keys.generate(), server_key=tmp_path / "source.pub"
    )
    stack.push_async_callback(transport.close)
    transport.dealer(mux.addr, lambda frame, blobs: None, lambda on: None)
    await until(lambda: mux.metrics()["handshakes_refused"] == 1)
    assert mux.metrics()["handshakes_accepted"] == 0


async def test_without_keys_there_are_no_handshakes_to_count(world: World) -> None:
    assert "handshakes_accepted" not in (await world.serve()).metrics()
