"""A deployment that really runs: hosts, delays, cuts, keys, and programs that are not Python's.

The machine ``fleet`` is served by a sidecar on its host. Two relay hosts follow it, and serve it
to three application hosts; on each of these a sidecar runs a shell script that does its share of
every order, and another that records what happens. Each sidecar is asked all the while how it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.deploy.network import Host, Unavailable, network
from tests.deploy.sites import Site, site
from tests.examples.programs import amzmq

APPS = ("app1", "app2", "app3")
NAMES = ("source", "relay1", "relay2", *APPS)
CABLE_S = 0.005
PORT = 7701


def at(host: Host) -> str:
    return f"tcp://{host.address}:{PORT}"


async def make_keys(folder: Path) -> None:
    """A pair for the source, one for the relays and one for the applications' hosts."""
    names = ("source", "relays/relay", "apps/app")
    await asyncio.gather(*(amzmq("keygen", str(folder / name)) for name in names))


def source(hosts: Mapping[str, Host], keys: Path) -> str:
    return f"""
[jobs.fleet]
kind = "attach"
target = "fleet:make"
bind = "{at(hosts["source"])}"
bind_key = "{keys}/source.key"
clients = "{keys}/relays"
"""


def relay(hosts: Mapping[str, Host], name: str, keys: Path) -> str:
    return f"""
[jobs.edge]
kind = "relay"
upstream = ["{at(hosts["source"])}"]
server_key = "{keys}/source.pub"
key = "{keys}/relays/relay.key"
machines = ["fleet"]
bind = "{at(hosts[name])}"
bind_key = "{keys}/relays/relay.key"
clients = "{keys}/apps"
"""


def app(hosts: Mapping[str, Host], relays: Sequence[str], keys: Path) -> str:
    return f"""
[jobs.edge]
kind = "relay"
upstream = {[at(hosts[name]) for name in relays]}
server_key = "{keys}/relays/relay.pub"
key = "{keys}/apps/app.key"
machines = ["fleet"]
[jobs.app]
kind = "exec"
command = ["sh", "app.sh"]
[jobs.record]
kind = "exec"
command = ["sh", "record.sh"]
"""


def configs(hosts: Mapping[str, Host], keys: Path) -> dict[str, str]:
    """app2 prefers the first relay, the others the second one."""
    return {
        "source": source(hosts, keys),
        "relay1": relay(hosts, "relay1", keys),
        "relay2": relay(hosts, "relay2", keys),
        "app1": app(hosts, ("relay2", "relay1"), keys),
        "app2": app(hosts, ("relay1", "relay2"), keys),
        "app3": app(hosts, ("relay2", "relay1"), keys),
    }


@asynccontextmanager
async def deployment(folder: Path) -> AsyncIterator[dict[str, Site]]:
    """All sites, ready."""
    async with AsyncExitStack() as stack:
        try:
            hosts = await stack.enter_async_context(network(NAMES, CABLE_S))
        except Unavailable as error:
            pytest.skip(f"no network of namespaces: {error}")
        keys = folder / "keys"
        await make_keys(keys)
        starting = [
            stack.enter_async_context(site(hosts[name], folder, config))
            for name, config in configs(hosts, keys).items()
        ]
        # All of them have begun when one has failed, so that all are ended.
        started = await asyncio.gather(*starting, return_exceptions=True)
        for failure in (it for it in started if isinstance(it, BaseException)):
            raise failure
        sites = {it.name: it for it in started if isinstance(it, Site)}
        for each in sites.values():
            await each.until("ready")
        yield sites
        await asyncio.gather(*(each.end() for each in sites.values()))


async def order(sites: Mapping[str, Site], by: str = "source") -> None:
    """Begin a new order."""
    assert await sites[by].change("remove", "Order", *(f"Done_{app}" for app in APPS)) == 200
    assert await sites[by].change("add", "Order") == 200


@pytest.mark.timeout(180)
async def test_hosts_that_were_cut_off_end_equal_and_never_said_what_is_not_so(
    tmp_path: Path,
) -> None:
    async with deployment(tmp_path) as sites:
        source, relay1, relay2 = (sites[name] for name in ("source", "relay1", "relay2"))
        apps = [sites[name] for name in APPS]
        app1, app2, app3 = apps

        await order(sites)
        for each in apps:
            await each.did(1)
        await source.when("states=AllDone")

        # One application host is cut off, and a relay that another one uses.
        app1.host.cut()
        await relay1.host.link("down")
        await order(sites)
        await app3.did(2)
        await asyncio.gather(app1.until("stale"), relay1.until("stale"))
        assert (await app1.fleet())["stale"]
        assert "AllDone" in (await app1.fleet())["active"]  # as it was
        assert await app1.change("remove", "Order") == 503
        assert "AllDone" not in (await source.fleet())["active"]

        # The one is joined again, while the other's follower has gone on by another way.
        app1.host.mend()
        await asyncio.gather(app1.did(2), app2.did(2))
        await source.when("states=AllDone")
        await app1.until("ready")

        # The source is cut off from everybody, and everybody says so.
        source.host.cut()
        await asyncio.gather(*(each.until("stale") for each in (relay2, *apps)))
        assert await app2.change("remove", "Order") == 503
        await order(sites)
        source.host.mend()
        await relay1.host.link("up")
        for each in apps:
            await each.did(3)
        await asyncio.gather(*(each.until("ready") for each in sites.values()))

        await order(sites, by="app2")
        for each in sites.values():
            await each.when("states=AllDone")
        last = await source.fleet()
        for each in sites.values():
            told = await each.fleet()
            assert (told["clock"], told["stale"]) == (last["clock"], False), each.name
        for each in apps:
            assert each.clock_of_events() == last["clock"], each.name
        for each in sites.values():
            assert each.health == {'{"alive":true} 200'}, each.name
        told = {name: without_start(each) for name, each in sites.items()}
        lost_once = ["ready", "stale", "ready"]
        lost_twice = [*lost_once, "stale", "ready"]
        assert told.pop("app2") in (lost_once, lost_twice)  # its new way may be there at once
        assert told == {
            "source": ["ready"],
            "relay1": lost_once,
            "relay2": lost_once,
            "app1": lost_twice,
            "app3": lost_once,
        }


def without_start(each: Site) -> list[str]:
    """What it told of its readiness, from the first time on that it was."""
    told = each.readiness
    return told[told.index("ready") :]
