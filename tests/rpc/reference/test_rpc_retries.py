"""The reference's rpc tests: calls and connections that are tried again."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from amzmq.errors import ConnectFailed, NotConnected
from amzmq.machine import Event, Result, State
from amzmq.wire.control import Mutate, Reply

from .sources import (
    PATIENCE_S,
    Links,
    ThreadedSource,
    clock_of,
    loses_first,
    no_rels,
    soon,
    until,
)

SHORT: dict[str, Any] = {"call_timeout": 0.1, "call_retry_delay": 0.01, "call_retry_backoff": 0.02}


async def test_a_lost_request_is_sent_again(link: Links) -> None:
    it = await link(no_rels(D=State(multi=True)), **SHORT)
    retrying = it.client.mach.when("RetryingCall")
    it.wire.loses = loses_first(Mutate)
    assert await soon(it.net.add("D")) == Result.EXECUTED
    await soon(retrying)
    await soon(it.client.mach.when_not("RetryingCall"))
    assert it.client.mach.is_("Ready")
    assert it.client.metrics()["calls_retried"] == 1
    assert it.net.tick("D") == it.source.tick("D") == 1


async def test_a_timeout_alone_is_retried_and_the_source_runs_it_once(link: Links) -> None:
    it = await link(no_rels(D=State(multi=True)), **SHORT)
    it.wire.loses = loses_first(Reply)
    assert await soon(it.net.add("D")) == Result.EXECUTED
    await soon(it.client.mach.when_not("RetryingCall"))
    assert it.client.mach.is_("Ready")
    assert it.client.mach.not_("RetryingConn")
    assert it.client.metrics()["calls_retried"] == 1
    assert it.net.tick("D") == it.source.tick("D") == 1
    assert clock_of(it.net) == clock_of(it.source)


async def test_a_handler_slower_than_the_timeout_runs_once(link: Links) -> None:
    source, go_on = no_rels(D=State(multi=True)), threading.Event()
    # The handler's own limit is not what this is about.
    source.handler_timeout = PATIENCE_S
    runs: list[str] = []

    def slow(e: Event) -> None:
        runs.append(e.name)
        assert go_on.wait(PATIENCE_S)

    source.bind({"DState": slow})
    with ThreadedSource(source) as served:
        client = link.client(served.addr, **SHORT)
        client.start()
        await soon(client.ready())
        call = client.net_mach.add("D")
        await until(lambda: client.metrics()["calls_retried"] > 0)
        go_on.set()
        assert await soon(call) == Result.EXECUTED
        assert client.net_mach.tick("D") == 1
        assert client.mach.is_("Ready")
        await client.stop()
    assert runs == ["DState"]
    assert source.tick("D") == 1


async def test_a_source_that_comes_later_is_found(link: Links) -> None:
    address = await link.free_address()
    client = link.client(address["bind"])
    third = client.mach.when_time({"Connecting": 3})
    client.start()
    await soon(third)
    assert client.mach.is_("RetryingConn")
    source = no_rels()
    mux = await link.serve(source, **address)
    await soon(client.ready())
    assert mux.mach.is_("Ready")
    await soon(client.mach.when_not("RetryingConn", "RetryingCall"))
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED


async def test_a_listener_that_closes_and_opens_again_is_found_again(link: Links) -> None:
    source = no_rels()
    mux = await link.serve(source)
    it = await link.follow(mux, source)
    address = {"bind": mux.addr, "feed": mux.feed_addr}
    retrying = it.client.mach.when("RetryingConn")
    await mux.stop()
    await soon(retrying)
    with pytest.raises(NotConnected, match="nothing was sent"):
        await it.net.add("A")
    assert source.not_("A")
    again = await link.serve(source, **address)
    await soon(it.client.mach.when("Ready"))
    assert again.mach.is_("Ready")
    await soon(it.client.mach.when_not("RetryingConn", "RetryingCall"))
    # Errors of a client are transient: they tick by two.
    for state in ("Exception", "ErrNetwork"):
        assert it.client.mach.tick(state) >= 2
        assert it.client.mach.not_(state)
    assert await soon(it.net.add("A")) == Result.EXECUTED
    assert clock_of(it.net) == clock_of(source)


async def test_retrying_ends_when_the_policy_ends(link: Links) -> None:
    source = no_rels()
    mux = await link.serve(source)
    it = await link.follow(mux, source, conn_timeout=0.05, conn_retries=3)
    await it.net.add("A")
    seen = it.client.mach.when("RetryingConn")
    failed = it.client.mach.when("ConnRetryFailed")
    await mux.stop()
    await soon(seen)
    await soon(failed)
    assert it.client.mach.not_("RetryingConn", "Start", "Ready", "Connected")
    with pytest.raises(ConnectFailed, match="Is a Mux serving there"):
        await soon(it.client.ready())
    # What is known of the source stays readable.
    assert it.net.is_("A")


async def test_a_client_that_gave_up_can_be_started_again(link: Links) -> None:
    address = await link.free_address()
    client = link.client(address["bind"], conn_timeout=0.05, conn_retries=1)
    client.start()
    with pytest.raises(ConnectFailed):
        await soon(client.ready())
    await link.serve(no_rels(), **address)
    client.start()
    await soon(client.ready())
    assert client.mach.not_("ConnRetryFailed", "RetryingConn")
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
