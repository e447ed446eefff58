"""Who may have what of a Mux: the policy, applied to its clients and their streams."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from amzmq.errors import NoAccess
from amzmq.machine import Machine
from amzmq.rpc.replica.netmach import NetworkMachine
from amzmq.rpc.server.rights import EVERYTHING, MachineRights, Policy, PolicyInvalid
from amzmq.rpc.server.server import ClientId, Server
from amzmq.rpc.server.sources import served_id
from amzmq.wire.view import View

_log = logging.getLogger("amzmq.mux")


class Entitlement:
    """Applies a policy.

    Args:
        policy: What each user may do; None allows everybody everything.
    """

    def __init__(self, policy: Policy | None) -> None:
        self._policy = policy

    def on(self, user: str, source: Machine | NetworkMachine) -> MachineRights:
        """What a user may do with a machine."""
        rights = EVERYTHING if self._policy is None else self._policy.of(user)
        return rights.on(served_id(source), source.state_names)

    def admit(
        self, client: ClientId, source: Machine | NetworkMachine, view: View
    ) -> tuple[Callable[[], MachineRights] | None, View]:
        """The rights of a client, and what it may see of the view that it wants.

        A schema names every state, so who may not see all of them does not get it.

        Raises:
            NoAccess: It may do nothing with the machine.
        """
        if self._policy is None:
            return None, view
        rights = self.on(client.user, source)
        if rights.nothing:
            raise NoAccess(f"nothing here is for {client.user or client.name}")
        visible = frozenset(rights.visible(source.state_names))
        if len(visible) < len(source.state_names):
            allowed = visible if view.allowed is None else view.allowed & visible
            view = replace(view, allowed=allowed, schema=False)
        if not rights.schema:
            view = replace(view, schema=False)
        return lambda: self.on(client.user, source), view

    def changed(self, servers: Iterable[Server]) -> set[str]:
        """Reads the policy again if it changed; the users whose rights are others now."""
        try:
            if self._policy is None or not self._policy.reload():
                return set()
        except PolicyInvalid as error:
            _log.error("the rights stay as they were: %s", error)
            return set()
        return {
            server.client.user
            for server in servers
            for held, feed in (
                (server.rights, server.feed),
                *((followed.held.now, followed.feed) for followed in server.followed),
            )
            if held != self.on(server.client.user, feed.source)
        }


def was_given(asker: str, topic: bytes, servers: Iterable[Server]) -> bool:
    """Whether a stream was given to a user; without keys, whoever knows it may have it."""
    return not asker or any(
        server.client.user == asker and server.was_given(topic) for server in servers
    )
