"""A transport of the user's own: several may have it, and a start that failed may be repeated."""

from __future__ import annotations

import pytest

from amzmq.errors import AddressInUse, ConnectFailed, RpcError
from amzmq.net import ZmqTransport
from amzmq.rpc import Client, Mux, Subscriber
from tests.ports import free_ports
from tests.rpc.rig import ADDR, QUICK, World, level, machine, soon, until


async def test_a_client_that_stops_leaves_the_transport_to_the_others(world: World) -> None:
    mux = await world.serve()
    transport = world.network.transport()
    one, two = (Client(ADDR, name, transport=transport, **QUICK) for name in ("one", "two"))
    async with two:
        async with one:
            await level(mux.source, one, two)
        await until(lambda: list(mux.clients) == ["rc-two"])
        await soon(two.net_mach.add("A"))
        mux.source.add("B")
        await level(mux.source, two)
        assert two.metrics()["connects"] == 1


async def test_a_client_that_stops_while_it_connects_leaves_no_socket_to_the_others(
    world: World,
) -> None:
    transport = world.network.transport()
    waiting = Client("mem://nobody", transport=transport, **QUICK)
    waiting.start()
    await until(lambda: world.network.dealers["mem://nobody"])
    await world.serve()
    async with Client(ADDR, transport=transport, **QUICK) as client:
        await waiting.stop()
        assert not world.network.dealers["mem://nobody"]
        await soon(client.net_mach.add("A"))


async def test_the_last_client_closes_it_and_a_later_one_is_told(world: World) -> None:
    await world.serve()
    transport = world.network.transport()
    for name in ("one", "two"):
        client = Client(ADDR, name, transport=transport, **QUICK)
        if name == "one":
            async with client:
                continue
        with pytest.raises(RpcError, match="this transport is closed; make a new one") as caught:
            await client.__aenter__()
        assert not isinstance(caught.value, ConnectFailed)


async def test_source_client_and_subscriber_may_have_one_transport(world: World) -> None:
    transport = ZmqTransport()
    source = machine()
    mux = Mux(source, transport=transport)
    await mux.start()
    async with Subscriber(mux.addr, transport=transport, **QUICK) as subscriber:
        async with Client(mux.addr, transport=transport, **QUICK) as client:
            await soon(client.net_mach.add("A"))
        await until(lambda: subscriber["src"].is_("A"))
        other = Mux(machine("other"), transport=transport)
        await other.start()
        await mux.stop()
        async with Client(other.addr, transport=transport, **QUICK) as late:
            await soon(late.net_mach.add("A"))
        await other.stop()


async def test_over_tcp_a_start_that_failed_is_repeated_on_the_same_transport() -> None:
    port, feed, taken = free_ports(3)
    async with Mux(machine("first"), f"tcp://127.0.0.1:{taken}", "tcp://127.0.0.1:0"):
        transport = ZmqTransport()
        mux = Mux(
            machine(),
            f"tcp://127.0.0.1:{port}",
            f"tcp://127.0.0.1:{taken}",
            transport=transport,
        )
        for _ in range(3):
            with pytest.raises(AddressInUse, match=str(taken)):  # and not `port`
                await mux.start()
        later = Mux(machine("later"), f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{feed}")
        async with later:  # nothing of the failed start is left there
            pass
    async with mux, Client(mux.addr, **QUICK) as client:
        await soon(client.net_mach.add("A"))
        assert mux.source.is_("A")


async def test_a_mux_that_could_not_start_closes_its_transport_when_it_is_stopped() -> None:
    async with Mux(machine("first")) as first:
        mux = Mux(machine(), first.addr, transport=ZmqTransport())
        with pytest.raises(AddressInUse):
            await mux.start()
        await mux.stop()  # the check of every test sees what is left open
        with pytest.raises(Exception, match="this transport is closed"):
            await mux.start()
