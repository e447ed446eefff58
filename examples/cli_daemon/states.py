"""What the daemon and its command agree on."""

from dataclasses import dataclass

from amzmq import State, States

ADDR = "tcp://127.0.0.1:8090"


class DaemonStates(States):
    """One operation at a time: the one that was asked for last."""

    Start = State()
    OpFoo1 = State(require=Start, remove="OpBar2")
    OpBar2 = State(require=Start, remove=OpFoo1)


@dataclass
class OpArgs:
    """The arguments of an operation.

    Attributes:
        client: Who asks, `client.mach.id`; it gets the answer.
        duration: Seconds of work.
    """

    client: str
    duration: float = 1.0
