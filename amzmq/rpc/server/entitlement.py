"""Who may have what of a Mux: the policy, applied to its clients and their streams."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

from amzmq.errors import NoAccess, Refused
from amzmq.machine import Machine
from amzmq.rpc.listing import MachineInfo
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.rights import EVERYTHING, MachineRights, Policy, PolicyInvalid, Rights
from amzmq.rpc.server.server import ClientId, Server
from amzmq.rpc.server.sources import Sources, served_id
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.mux")

USERS_KEPT = 65_536
"""Users whose rights are remembered, as they may hold subscriptions still; a source has fewer
clients. The connections of one that is forgotten are ended."""


class Entitlement:
    """Applies a policy.

    Args:
        policy: What each user may do; None allows everybody everything.
        sources: The machines served.
        payload_state: The state by which a machine sends payloads.
    """

    def __init__(self, policy: Policy | None, sources: Sources, payload_state: str) -> None:
        self._policy = policy
        self._sources = sources
        self._payload_state = payload_state
        self._given: OrderedDict[str, Rights] = OrderedDict()
        self._forgotten: set[str] = set()

    def of(self, user: str) -> Rights:
        """What a user may do."""
        return EVERYTHING if self._policy is None else self._policy.of(user)

    def is_admin(self, user: str) -> bool:
        """Whether a user is let in when others are too many; without a policy nobody is."""
        return self._policy is not None and self._policy.of(user).admin

    def on(self, user: str, source: Machine | NetworkMachine) -> MachineRights:
        """What a user may do with a machine."""
        rights = self.of(user).on(served_id(source), source.state_names)
        if not rights.payload and source.has(self._payload_state):
            sending = 1 << source.index(self._payload_state)
            rights = replace(rights, mutable=rights.mutable & ~sending)
        return rights

    def find(self, user: str, machine_id: str) -> Machine | NetworkMachine:
        """The machine of an id; "" is the first of those that the user may have.

        Nobody learns of machines that they may not have: one that exists is refused as one that
        does not.

        Raises:
            NoAccess: It is not for this user.
            Refused: There is none.
        """
        if self._policy is None:
            return self._sources.find(machine_id)
        visible = {
            known_id: machine
            for known_id, machine in self._sources.all.items()
            if not self.on(user, machine).nothing
        }
        if not machine_id and visible:
            return next(iter(visible.values()))
        if machine_id in visible:
            return visible[machine_id]
        known = " ".join(visible) or "nothing"
        if visible and self.of(user).concern(machine_id):
            raise Refused(f"no machine {machine_id!r} here; there is: {known}")
        wanted = f"machine {machine_id!r}" if machine_id else "no machine"
        raise NoAccess(f"{wanted} is for {user or 'who proves no key'}; there is: {known}")

    def admit(
        self, client: ClientId, source: Machine | NetworkMachine, view: View
    ) -> tuple[Callable[[], MachineRights] | None, View]:
        """The rights of a client, and what it may see of the view that it wants.

        A schema names every state, those that come later as well, so who may not see all of them
        does not get it.

        Raises:
            NoAccess: It may do nothing with the machine.
        """
        if self._policy is None:
            return None, view
        rights = self.on(client.user, source)
        if rights.nothing:
            raise NoAccess(f"nothing here is for {client.user or client.name}")
        self._remember(client.user)
        if not rights.reads_later:
            visible = frozenset(rights.visible(source.state_names))
            allowed = visible if view.allowed is None else view.allowed & visible
            # An error would tell which of the others exist.
            view = replace(view, allowed=allowed, skipped=view.skipped & visible, schema=False)
        if not rights.schema:
            view = replace(view, schema=False)
        if not rights.payload:
            view = replace(view, payloads=False)  # it gets a stream of its own
        return lambda: self.on(client.user, source), view

    def may_know(self, user: str, infos: Iterable[MachineInfo]) -> list[MachineInfo]:
        """Of the machines served, what a user may know."""
        if self._policy is None:
            return list(infos)
        known = []
        for info in infos:
            source = self._sources.find(info.id)
            rights = self.on(user, source)
            if not rights.nothing:
                known.append(_told(info, source, rights))
        return known

    def changed(self) -> set[str]:
        """Reads the policy again if it changed; the users whose connections are to end.

        That is everybody who has other rights now, whether their client is here or has left a
        subscription behind.
        """
        forgotten, self._forgotten = self._forgotten, set()
        try:
            if self._policy is None or not self._policy.reload():
                return forgotten
        except PolicyInvalid as error:
            _log.error("the rights stay as they were: %s", error)
            return forgotten
        others = {user for user, rights in self._given.items() if rights != self.of(user)}
        for user in others:
            del self._given[user]
        return others | forgotten

    def _remember(self, user: str) -> None:
        self._given[user] = self.of(user)
        self._given.move_to_end(user)
        if len(self._given) > USERS_KEPT:
            self._forgotten.add(self._given.popitem(last=False)[0])


def _told(
    info: MachineInfo, source: Machine | NetworkMachine, rights: MachineRights
) -> MachineInfo:
    if not rights.schema:
        info = replace(info, args=())
    names = source.state_names
    visible = frozenset(rights.visible(names))
    if len(visible) == len(names):
        return info
    ticks = sum(tick for name, tick in zip(names, source.time(), strict=True) if name in visible)
    active = tuple(name for name in info.active if name in visible)
    return replace(info, states=len(visible), time_sum=ticks, active=active, args=())


def was_given(asker: str, topic: bytes, servers: Iterable[Server]) -> bool:
    """Whether a stream was given to a user; without keys, whoever knows it may have it."""
    return not asker or any(
        server.client.user == asker and server.was_given(topic) for server in servers
    )
