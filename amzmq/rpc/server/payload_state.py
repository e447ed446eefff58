"""Payloads by state: a handler adds `SendPayload` to its machine, and the Mux sends (spec 8.3).

So code that knows only its machine can send data to followers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from amzmq.errors import AmzmqError, InvalidArgs
from amzmq.machine import Event, Machine

if TYPE_CHECKING:
    from amzmq.rpc.server.receipt import Receipt

ERROR_STATE = "ErrSendPayload"


class PayloadState:
    """Sends what a state of the source is added with: ``name``, ``payload``, ``destination``.

    Args:
        source: The machine.
        state: The state; it is removed again with each payload.
        send: Sends a payload.
    """

    def __init__(
        self, source: Machine, state: str, send: Callable[[str, object, str | None, Event], Receipt]
    ) -> None:
        self._source = source
        self._state = state
        self._send = send
        self._id = source.bind({f"{state}State": self._on_state}, id=f"rpc-payload-{id(self):x}")

    def close(self) -> None:
        """Stop sending."""
        if not self._source.is_disposed:
            self._source.detach(self._id)

    def _on_state(self, e: Event) -> None:
        self._source.remove(self._state, event=e)
        name, destination = e.args.get("name"), e.args.get("destination")
        try:
            if not isinstance(name, str) or not name or "payload" not in e.args:
                raise InvalidArgs(
                    f"{self._state}: name={name!r}; add it with name='...' and payload=..."
                )
            if destination is not None and not isinstance(destination, str):
                raise InvalidArgs(f"{self._state}: destination={destination!r} is no client's id")
            self._send(name, e.args["payload"], destination, e)
        except AmzmqError as error:
            if self._source.has(ERROR_STATE):
                self._source.add_err_state(ERROR_STATE, error, event=e, args={"name": name})
            else:
                self._source.add_err(error, event=e)
