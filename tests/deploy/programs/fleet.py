"""The machine that a whole deployment follows."""

from __future__ import annotations

from amzmq import Machine, State

HOSTS = ("app1", "app2", "app3")


def make() -> Machine:
    """An order, and for each host whether it has done its share of it."""
    done = {f"Done_{host}": State(require=["Order"]) for host in HOSTS}
    everybody = State(auto=True, require=["Order", *done])
    return Machine({"Order": State(multi=True), **done, "AllDone": everybody}, id="fleet")
