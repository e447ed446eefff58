"""Outcomes as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from amzmq.cli.repl.entry import Entry
from amzmq.cli.repl.machines import Machines
from amzmq.cli.repl.parsing import PARSERS

CHEATSHEET = """\
list                                  every machine, its time sum and states
list -a Ready -p worker- -l 5         the first 5 with Ready active whose id begins with worker-
list -t 10 -m Msg                     those where Msg has ticked 10 times at least
mach door                             the active states; --all for every state
inspect door                          ticks, properties and relations
time door --sum                       the sum of its ticks
add door Open --arg by --val ann      activate a state, with an argument
add . Open --arg by=ann               the same, at the first machine that is ready
remove door Open                      deactivate it
set door Closed                       activate exactly this
toggle door Lamp                      on or off
group-add Stop -p worker-             at every machine that has Stop and matches
group-remove Busy -a Busy             only where it is active
when door Open --timeout 5            wait for it
when-not door Open Alarm              wait until both are inactive
when-time door -s Open -t 3           wait until its tick is 3
status                                how many machines are connected
script setup.txt                      run the lines of a file, up to the first that fails
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A machine in a list.

    Attributes:
        name: What to call it.
        id: Its id.
        addr: Where it is served.
        connected: Whether its client is connected.
        ready: Whether it can be used.
        time_sum: The sum of its ticks.
        clients: How many clients follow it.
        states: Its active states, or all, with their ticks.
    """

    name: str
    id: str
    addr: str
    connected: bool
    ready: bool
    time_sum: int
    clients: int
    states: Mapping[str, int]

    def described(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def row(machines: Machines, entry: Entry, inactive: bool) -> Row:
    """A machine of a list, with its inactive states or without."""
    replica = entry.last_seen()
    clock = {} if replica is None else replica.clock()
    return Row(
        machines.name_of(entry),
        entry.id,
        entry.addr,
        entry.client.mach.is_("Connected"),
        entry.is_ready,
        entry.time_sum(),
        entry.info.clients,
        {name: tick for name, tick in clock.items() if inactive or tick & 1},
    )


def listed(rows: Sequence[Row], states: bool) -> str:
    """A line for each: number, name, time sum, Connected or Disconnected, Ready or Started."""
    lines = []
    for number, item in enumerate(rows, 1):
        marks = ("C" if item.connected else "D") + ("R" if item.ready else "S")
        line = f"{number}. {item.name} t{item.time_sum} {marks}"
        if states:
            line += f" ({_ticks(item.states, 1)})"
            if inactive := _ticks(item.states, 0):
                line += f" [{inactive}]"
        lines.append(line)
    return "\n".join(lines) if lines else "no machine matches"


def _ticks(clock: Mapping[str, int], parity: int) -> str:
    return " ".join(f"{name}:{tick}" for name, tick in clock.items() if tick & 1 == parity)


def help_of(topic: str) -> str:
    """All commands in a line each, or one in full; "" for all."""
    if topic:
        return PARSERS[topic].format_help().rstrip()
    width = max(map(len, PARSERS))
    return "\n".join(f"{name:<{width}}  {parser.summary}" for name, parser in PARSERS.items())
