"""Replays conformance cases through a replica: made there, run at the source, compared at both.

Each case has its own Mux and Client over TCP. Handlers, vetoes and imports are the source's, as
in a local replay; every mutation is a call of the replica, and both ends must be what the case
says when it returns. Dry runs ask the source, whose handlers they are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from amzmq import Client, Mux, NetworkMachine, Result
from amzmq.machine.view import MachineView
from tests.conformance.replay import (
    SUBSCRIBE,
    Case,
    Difference,
    Guard,
    Raised,
    Replay,
    Step,
    check_form,
    compare,
    compare_snapshot,
    method_of,
    mutate,
)

AT_ONCE = 8
"""Cases replayed side by side: one connects while another computes."""

PATIENCE_S = 30.0
"""Seconds for one step, the connection included; only a failing one takes them."""

LOCAL_OPS = frozenset(["can_add", "can_remove"])


async def replay_all(
    cases: Sequence[Case], sync_mutations: bool = False
) -> list[tuple[Case, Difference]]:
    """Replay cases through replicas and return those that differ, in order.

    Args:
        cases: What to replay.
        sync_mutations: Whether the replica is told of each mutation by itself. Its waits then
            see the same as those of the source.

    Raises:
        CaseError: A case is not of the format.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Difference | None:
        async with places:
            return await ReplicaReplay(case, sync_mutations).run()

    for case in cases:
        check_form(case)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(case)) for case in cases]
    return [
        (case, difference)
        for case, task in zip(cases, tasks, strict=True)
        if (difference := task.result())
    ]


class ReplicaReplay:
    """One case on one source and one replica of it."""

    def __init__(self, case: Case, sync_mutations: bool = False) -> None:
        self.case = case
        self.local = Replay(case)
        self.waits = WaitsOfReplica(case, sees_all=sync_mutations)
        self.options: dict[str, Any] = {"sync_mutations": True} if sync_mutations else {}

    async def run(self) -> Difference | None:
        """Replay the case and return the first difference, or None."""
        try:
            if difference := self.local.start():
                return difference
            async with asyncio.timeout(PATIENCE_S):
                mux = Mux(self.local.machine, bind="tcp://127.0.0.1:0")
                await mux.start()
            try:
                # What a connection raises is a difference too: the other cases go on.
                with Guard("replica"):
                    return await self._follow(mux.addr)
            finally:
                await mux.stop()
        except Raised as error:
            return error.difference()

    async def _follow(self, addr: str) -> Difference | None:
        client = Client(addr, name=self.case["id"], disconn_cooldown=0.0, **self.options)
        async with client:
            difference = self.local.restore()
            if difference is None and "import" in self.case:
                async with asyncio.timeout(PATIENCE_S):
                    await client.sync()
                difference = self._compare("initial", self.case["initial"], client.net_mach)
            return (
                difference
                or await self._steps(client)
                or self.local.subscriptions()
                or self.waits.compare()
            )

    async def _steps(self, client: Client) -> Difference | None:
        net = client.net_mach
        for i, step in enumerate(self.case["steps"]):
            path = f"steps[{i}]"
            self.local.before(i)
            with Guard(f"subs of the replica before {path}"):
                self.waits.subscribe(i, net)
            with Guard(f"{path} of the replica"):
                result = await self._mutate(net, step)
                if self.waits.of_the_source:
                    async with asyncio.timeout(PATIENCE_S):
                        await client.sync()
            self.waits.look(i)
            difference = self.local.after(i, result) or self._compare(path, step, net)
            if difference:
                return difference
        return None

    async def _mutate(self, net: NetworkMachine, step: Step) -> Result:
        if step["op"] in LOCAL_OPS:
            return mutate(self.local.machine, step)
        async with asyncio.timeout(PATIENCE_S):
            result: Result = await method_of(net, step)()
        return result

    def _compare(
        self, path: str, expected: Mapping[str, Any], net: NetworkMachine
    ) -> Difference | None:
        """Against the case; and against the source, for what the case does not say."""
        path = f"replica.{path}"
        return compare_snapshot(path, self.case, expected, net) or compare(
            path, _all_of(self.local.machine), _all_of(net)
        )


def _all_of(machine: MachineView) -> dict[str, Any]:
    """Everything that replicates."""
    return {
        "time": list(machine.time()),
        "qtick": machine.queue_tick,
        "mtick": machine.machine_tick,
        "active": sorted(machine.active_states()),
        "str": machine.string_all(),
    }


class WaitsOfReplica:
    """The subscriptions of a case, made on the replica.

    A reply brings all transitions of its step at once, so a wait of the replica sees the clock
    only as it is after a step. What it has to do is told by the ticks of the case, therefore.

    Args:
        case: The case.
        sees_all: Whether the replica is told of each mutation by itself.

    Attributes:
        of_the_source: Whether the source decides of some of them. It tells of these after its
            reply, so they are looked at when it has answered once more.
    """

    def __init__(self, case: Case, sees_all: bool) -> None:
        self.subs: list[tuple[int, Mapping[str, Any]]] = sorted(
            enumerate(case.get("subs", [])), key=lambda pair: pair[1]["before"]
        )
        self.expected = [_Expected(case, sub, sees_all).fired() for _, sub in self.subs]
        self.of_the_source = any(sub["kind"] == "when_args" for _, sub in self.subs)
        self.has_fired: list[Callable[[], bool]] = []
        self.fired: list[int | str | None] = []

    def subscribe(self, step: int, net: NetworkMachine) -> None:
        """Make those that come before a step."""
        for _, sub in self.subs:
            if sub["before"] == step:
                has_fired = SUBSCRIBE[sub["kind"]](net, sub)
                self.has_fired.append(has_fired)
                self.fired.append("immediate" if has_fired() else None)

    def look(self, step: int) -> None:
        """Note what has fired by a step."""
        for i, has_fired in enumerate(self.has_fired):
            if self.fired[i] is None and has_fired():
                self.fired[i] = step

    def compare(self) -> Difference | None:
        """Return the first that fired when it should not have, or did not when it should."""
        differences = (
            compare(f"replica.subs[{i}] {sub['kind']} fired", expected, got)
            for (i, sub), expected, got in zip(self.subs, self.expected, self.fired, strict=True)
        )
        return next(filter(None, differences), None)


class _Expected:
    """When a subscription fires that sees the clock after each step only."""

    def __init__(self, case: Case, sub: Mapping[str, Any], sees_all: bool) -> None:
        self.case = case
        self.sub = sub
        self.sees_all = sees_all
        self.start = self._clock(sub["before"] - 1)

    def fired(self) -> int | str | None:
        kind = self.sub["kind"]
        if kind == "when_args" and self._shares_a_wait():
            return next(self._steps(), None)
        # Arguments are compared at the source, for each transition.
        if kind == "when_args" or (self.sees_all and kind in ("when", "when_not", "when_err")):
            fired: int | str | None = self.sub["fired"]
            return fired
        if kind not in ("when_query_min_tick", "state_ctx") and self._holds(self.start, self.start):
            return "immediate"
        return next(self._steps(), None)

    def _shares_a_wait(self) -> bool:
        """Whether a machine gives the wait of another that wants the same, and more.

        A quirk, and one of machines alone: waits at the source are made for each who asks.
        """
        sub = self.sub
        earlier = self.case["subs"][: self.case["subs"].index(sub)]
        return any(
            other["kind"] == "when_args"
            and other["states"] == sub["states"]
            and sub.get("args", {}).items() < other.get("args", {}).items()
            for other in earlier
        )

    def _steps(self) -> Iterator[int]:
        for step in range(self.sub["before"], len(self.case["steps"])):
            if self.sub["kind"] == "when_args":
                holds = self._is_entered(step)
            else:
                holds = self._holds(self._clock(step), self._clock(step - 1))
            if holds:
                yield step

    def _is_entered(self, step: int) -> bool:
        """Whether a step enters the state with the arguments."""
        state, args = self.sub["states"][0], self.sub.get("args", {})
        before, now = self._clock(step - 1)[state], self._clock(step)[state]
        given = self.case["steps"][step].get("args", {})
        return bool(before != now and now % 2 and args.items() <= given.items())

    def _clock(self, step: int) -> dict[str, int]:
        """The ticks after a step; -1 is before the first."""
        if step >= 0:
            at = self.case["steps"][step]
        else:
            nothing = {"time": [0] * len(self.case["states"]), "qtick": 1}
            at = self.case.get("initial", nothing)
        return dict(zip(self.case["states"], at["time"], strict=True)) | {"": at["qtick"]}

    def _holds(self, now: Mapping[str, int], before: Mapping[str, int]) -> bool:
        sub, start = self.sub, self.start
        states: list[str] = sub.get("states") or ["Exception"]
        first = states[0]
        # A quirk of all waits: an activation meets one even if the same step deactivates another
        # of its states.
        met = [name for name in states if now[name] % 2 or before[name] % 2]
        activates = any(now[name] % 2 and not before[name] % 2 for name in states)
        holds: bool
        match sub["kind"]:
            case "when" | "when_err":
                holds = all(now[name] % 2 for name in states) or (activates and met == states)
            case "when_not":
                holds = not any(now[name] % 2 for name in states)
            case "when_time":
                holds = all(now[n] >= t for n, t in zip(states, sub["times"], strict=True))
            case "when_ticks":
                holds = now[first] >= start[first] + sub["ticks"]
            case "when_next_active":
                holds = now[first] >= start[first] + 1 + start[first] % 2
            case "when_query_min_tick":
                holds = now[first] >= sub["ticks"]
            case "when_queue":
                holds = now[""] >= sub["tick"]
            case _:  # state_ctx
                holds = now[first] != start[first]
        return holds
