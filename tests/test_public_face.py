"""What user code may rely on works as it is written down, on a machine and on its replica."""

from __future__ import annotations

import asyncio

from amzmq import Client, Machine, Mux, Result, State, States
from amzmq.machine import Event, Tracer

SCHEMA = {
    "Start": State(),
    "Connecting": State(require=["Start"], remove=["Connected"]),
    "Connected": State(require=["Start"], remove=["Connecting"]),
    "Ready": State(auto=True, require=["Connected"]),
    "Msg": State(multi=True),
    "ErrNetwork": State(require="Exception"),
}


class Door(States):
    Closed = State(remove="Open")
    Open = State(remove=Closed)
    Alarm = State(auto=True, require=Open)


class Handlers:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def StartEnter(self, e: Event) -> bool:
        return True

    def StartState(self, e: Event) -> None:
        self.seen.append(e.name)

    async def ConnectingState(self, e: Event) -> None:
        self.seen.append(e.name)


def test_a_class_of_states_names_them_in_order() -> None:
    assert Door.names() == ("Closed", "Open", "Alarm", "Exception")
    assert Door.Open == "Open"
    assert isinstance(Door.Open, str)

    class Gate(Door):
        Locked = State(require=Door.Closed)

    assert Gate.names() == ("Closed", "Open", "Alarm", "Locked", "Exception")


def test_mutations_and_reads_of_a_machine() -> None:
    m = Machine(
        SCHEMA, id="door", states=None, handlers=None, parent=None, tags=(), queue_limit=1000,
        handler_timeout=0.1,
    )  # fmt: skip
    assert m.add("Start", "Connected", user=42) is Result.EXECUTED
    assert set(m.active_states()) == {"Start", "Connected", "Ready"}
    assert m.toggle("Connected") is Result.EXECUTED
    assert m.set("Start") is Result.EXECUTED
    assert m.add_err(ValueError("x")) is Result.EXECUTED
    assert m.add_err_state("ErrNetwork", OSError()) is Result.EXECUTED
    assert isinstance(m.err(), OSError)
    assert m.can_add("Ready") is Result.CANCELED
    assert m.can_remove("Start") is Result.EXECUTED
    assert m.add("Start", args={"user": 1}, event=None) is Result.EXECUTED
    assert m.is_("Start")
    assert m.not_("Ready")
    assert m.any_("Ready", ("Start", "Exception"))
    assert m.has("Ready")
    assert m.switch("Ready", "Start") == "Start"
    assert m.index("Connecting") == 1
    assert m.tick("Start") == 1
    assert list(m.time("Start")) == [m.clock()["Start"]]
    assert m.queue_tick == 7
    assert m.machine_tick == 0
    assert m.schema["Ready"].auto
    assert str(m).startswith("(Start:1")
    assert m.string_all().startswith(str(m))
    assert m.inspect("Start").startswith("1 Start")
    assert m.export()["id"] == "door"


async def test_waits_contexts_handlers_and_the_end() -> None:
    m = Machine(SCHEMA, id="door")
    handlers = Handlers()
    m.bind(handlers, id="h")
    assert await m.add("Start", "Connecting") is Result.EXECUTED
    m.add("Connected")
    async with asyncio.timeout(10):
        await m.when("Ready")
    assert m.when("Ready").wait(timeout=2)
    pending = [
        m.when_not("Ready"),
        m.when_time({"Ready": 3}),
        m.when_ticks("Ready", 2),
        m.when_next_active("Ready"),
        m.when_query(lambda clock: clock["Ready"] > 2),
        m.when_args("Msg", user=42),
        m.when_err(),
        m.when_disposed(),
    ]
    assert not any(wait.done() for wait in pending)
    assert m.when_queue(m.add("Msg", user=42)).done()
    assert m.when_queue_ends().done()
    assert pending[5].done()
    ctx = m.state_ctx("Ready")
    assert not ctx.expired
    asyncio.get_running_loop().call_soon(m.remove, "Start")
    async with asyncio.timeout(10):
        await ctx.wait()
    assert ctx.expired

    class Watch(Tracer):
        id = "watch"

    m.bind({"MsgState": lambda e: None})
    m.detach("h")
    m.detach_tracer(m.bind_tracer(Watch()))
    m.dispose()
    async with asyncio.timeout(10):
        await m.when_disposed()
    assert handlers.seen[0] == "StartState"


async def test_serving_and_following() -> None:
    m = Machine(SCHEMA, id="door")
    async with asyncio.timeout(20), Mux(m, bind="tcp://127.0.0.1:0") as mux:
        assert mux.mach.is_("Ready")
        async with Client(mux.addr, name="reader") as c:
            net = c.net_mach
            await net.add("Start")
            assert net.is_("Start")
            net.add_ns("Msg")
            await c.sync()
            assert net.tick("Msg") == 1
            prices = c.payloads("price")
            mux.send_payload("price", {"usd": 1.5})
            mux.send_payload("price", {"usd": 2.5}, destination="reader")
            got = []
            async for payload in prices:
                got.append(payload.data["usd"])
                if len(got) == 2:
                    break
            assert got == [1.5, 2.5]
            assert c.mach.is_("Ready")
            ctx = net.state_ctx("Start")
            m.remove("Start")
            await ctx.wait()
