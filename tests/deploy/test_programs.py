"""The programs of the containers, as processes: with keys, probes and metrics."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml

from amzmq import Client
from amzmq.net import ZmqTransport
from amzmq.net.keys import Keys
from tests.deploy import schemas, tools
from tests.examples.programs import ANY, PATIENCE_S, Program, python, ran, running

APP = tools.DEPLOY / "app"
ANYWHERE = "tcp://0.0.0.0:0"
PROBES = "127.0.0.1:0"
DASHBOARD = json.loads((tools.DEPLOY / "grafana" / "amzmq.json").read_text(encoding="utf-8"))


@pytest.fixture
async def keys(tmp_path: Path) -> Path:
    await ran(*python(APP / "make_keys.py", str(tmp_path / "keys")))
    return tmp_path / "keys"


@asynccontextmanager
async def node(role: str, **settings: str | Path) -> AsyncIterator[Program]:
    env = {f"AMZMQ_{name.upper()}": str(value) for name, value in settings.items()}
    async with running(*python(APP / f"{role}.py"), env={"AMZMQ_PROBES": PROBES, **env}) as program:
        yield program


async def reached(program: Program) -> str:
    """Where it serves, as this host reaches it."""
    return (await program.addr()).replace("0.0.0.0", "127.0.0.1")


async def ask(program: Program, path: str) -> tuple[int, str]:
    url = (await program.says(r"(?:probes|http) at (http://\S+)"))[1]

    def get() -> tuple[int, str]:
        try:
            with urlopen(f"{url}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def ended(program: Program) -> int:
    program.send(signal.SIGTERM)
    return await program.ended()


async def test_followers_follow_the_source_by_relays_with_keys(keys: Path) -> None:
    async with node("source", bind=ANYWHERE, keys=keys / "source") as source:
        upstream = await reached(source)
        async with node("relay", upstream=upstream, bind=ANYWHERE, keys=keys / "relay") as relay:
            addr = await reached(relay)
            async with node("follower", upstream=addr, keys=keys / "follower") as follower:
                await follower.says(r"following fleet \(.*Ready:1")
                for program in (source, relay, follower):
                    assert (await ask(program, "/readyz"))[0] == 200
                    assert (await ask(program, "/healthz"))[0] == 200
                told = (await ask(relay, "/metrics"))[1]
                assert 'amzmq_clients{machine="fleet"} 1.0' in told
                assert re.search(
                    r'amzmq_client_lag_messages\{client="rc-.+",machine="fleet"\}', told
                )
                assert await ended(follower) == 0
            assert await ended(relay) == 0
        assert await ended(source) == 0


async def test_a_relay_that_lost_its_source_serves_on_and_is_not_ready(keys: Path) -> None:
    async with node("source", bind=ANYWHERE, keys=keys / "source") as source:
        upstream = await reached(source)
        async with node("relay", upstream=upstream, bind=ANYWHERE, keys=keys / "relay") as relay:
            addr = await reached(relay)
            assert (await ask(relay, "/readyz"))[0] == 200
            source.send(signal.SIGKILL)
            async with asyncio.timeout(PATIENCE_S):
                while (await ask(relay, "/readyz"))[0] != 503:
                    pass
            assert (await ask(relay, "/healthz"))[0] == 200
            own = Keys.load(keys / "follower" / "own.key")
            pub = keys / "follower" / "server.pub"
            transport = ZmqTransport(curve=own, server_key=pub)
            async with Client(addr, transport=transport) as late:
                assert late.net_mach.is_("Ready")


async def test_who_has_no_key_for_a_role_is_not_served_by_it(keys: Path) -> None:
    async with node("source", bind=ANYWHERE, keys=keys / "source") as source:
        upstream = await reached(source)
        (keys / "follower" / "server.pub").write_bytes((keys / "relay" / "server.pub").read_bytes())
        async with node("follower", upstream=upstream, keys=keys / "follower") as follower:
            async with node("relay", upstream=upstream, bind=ANY, keys=keys / "relay") as relay:
                await relay.addr()
            # The relay came after, and is through; the follower is not, and still tries.
            assert follower.out == []
        assert await ended(source) == 0


async def test_without_keys_only_this_host_is_served() -> None:
    async with node("source", bind=ANYWHERE) as source:
        assert await source.ended() == 1
        assert any("Insecure" in line for line in source.err)
    async with node("source", bind=ANY) as source:
        async with node("follower", upstream=await source.addr()) as follower:
            await follower.says("following fleet")


async def test_a_follower_that_is_left_for_good_ends_and_says_so() -> None:
    async with node("follower", upstream="tcp://127.0.0.1:9", patience="1") as follower:
        assert await follower.ended() == 1
        assert any("ConnectFailed" in line for line in follower.err)


async def test_the_health_check_tells_what_the_probe_tells() -> None:
    async with node("source", bind=ANY) as source:
        url = (await source.says(r"probes at http://(\S+)"))[1]
        async with running(*python(APP / "check.py"), env={"AMZMQ_PROBES": url}) as check:
            assert await check.ended() == 0, check.err
    async with running(*python(APP / "check.py"), env={"AMZMQ_PROBES": url}) as check:
        assert await check.ended() == 1


async def test_keys_that_are_there_stay(keys: Path) -> None:
    before = {path: path.read_bytes() for path in keys.rglob("*.*")}
    assert await ran(*python(APP / "make_keys.py", str(keys))) == ""
    assert {path: path.read_bytes() for path in keys.rglob("*.*")} == before
    assert len(before) == 3 * 2 + 2 + 3
    for secret in keys.rglob("*.key"):
        assert secret.stat().st_mode & 0o077 == 0


# The dashboard.


def test_the_dashboard_is_as_its_schema_says_and_its_panels_do_not_overlap() -> None:
    assert schemas.check(DASHBOARD, schemas.DASHBOARD) == []
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        rows = range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in rows}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


async def test_what_is_drawn_and_scaled_by_is_exposed(tmp_path: Path) -> None:
    shown = set()
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            shown |= set(re.findall(r"amzmq_\w+", target["expr"]))
    for variable in DASHBOARD["templating"]["list"]:
        shown |= set(re.findall(r"amzmq_\w+", json.dumps(variable.get("query", ""))))
    for each in yaml.safe_load_all(
        (tools.DEPLOY / "kubernetes" / "relay.yaml").read_text(encoding="utf-8")
    ):
        if each["kind"] == "HorizontalPodAutoscaler":
            shown |= {metric["pods"]["metric"]["name"] for metric in each["spec"]["metrics"]}
    assert len(shown) > 10
    sidecar_command = (
        *(sys.executable, "-m", "amzmq", "sidecar", "--http", PROBES, "--bind", ANY),
        *(
            "--exec",
            "--exec-bind",
            ANY,
            "--",
            sys.executable,
            "-c",
            "import signal; signal.pause()",
        ),
    )
    async with (
        node("source", bind=ANY) as source,
        node("follower", upstream=await source.addr()) as follower,
        running(*sidecar_command, env={"XDG_RUNTIME_DIR": str(tmp_path)}) as sidecar,
    ):
        await follower.says("following fleet")
        pages = [(await ask(each, "/metrics"))[1] for each in (source, follower, sidecar)]
    exposed = [set(re.findall(r"^(amzmq_\w+)[{ ]", page, re.MULTILINE)) for page in pages]
    assert shown <= exposed[0] | exposed[1] | exposed[2]
    # What the sidecar has too, it calls by the same name.
    served = {name for name in exposed[0] if name.startswith("amzmq_mux_")}
    assert served <= exposed[2]
