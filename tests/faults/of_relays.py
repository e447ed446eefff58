"""Faults around a relay, by which all followers reach the source."""

from __future__ import annotations

import asyncio

from tests.faults.lab import Lab
from tests.faults.process import Program
from tests.faults.registry import fault


def _relay(lab: Lab) -> Program:
    assert lab.relay is not None
    return lab.relay


@fault("relay: kill -9, another one in its place", "connects", relayed=True)
async def relay_killed(lab: Lab) -> None:
    await _relay(lab).kill()
    await lab.start_relay()


@fault("relay: stopped in good order, another one in its place", "connects", relayed=True)
async def relay_restarted(lab: Lab) -> None:
    await _relay(lab).stop()
    await lab.start_relay()


@fault("relay: frozen for 4 s (SIGSTOP)", "errors", "connects", "calls_retried", relayed=True)
async def relay_frozen(lab: Lab) -> None:
    _relay(lab).freeze()
    await asyncio.sleep(4)
    _relay(lab).thaw()


@fault(
    "relay: its source is killed, another one in its place",
    "ns_refused",
    "snapshots",
    "connects",
    relayed=True,
)
async def source_behind_a_relay_killed(lab: Lab) -> None:
    await lab.source.kill()
    await lab.restart_source()
