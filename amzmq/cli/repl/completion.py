"""What may come next on a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from amzmq.cli.repl.entry import Entry
from amzmq.cli.repl.machines import FIRST_READY, Machines
from amzmq.cli.repl.parser import CommandParser, Names
from amzmq.cli.repl.parsing import PARSERS


class Candidates(NamedTuple):
    """The words that may stand where the cursor is.

    Attributes:
        words: In the order to show them.
        typed: What of them is typed already.
    """

    words: list[str]
    typed: str


@dataclass(frozen=True, slots=True)
class StateSeen:
    """A state, as far as completion cares."""

    name: str
    active: bool
    multi: bool


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """A machine, as far as completion cares.

    Attributes:
        name: What to call it.
        parent: Its parent's id.
        ready: Whether it can be used.
        states: In order.
        args: ``State.argument`` names.
    """

    name: str
    parent: str = ""
    ready: bool = True
    states: tuple[StateSeen, ...] = ()
    args: tuple[str, ...] = ()


def seen(machines: Machines) -> list[MachineSeen]:
    """The machines there are."""
    return [_seen(machines.name_of(entry), entry) for entry in machines.entries()]


def _seen(name: str, entry: Entry) -> MachineSeen:
    replica = entry.last_seen()
    states: tuple[StateSeen, ...] = ()
    if replica is not None:
        schema = replica.schema
        states = tuple(
            StateSeen(state, bool(tick & 1), schema[state].multi)
            for state, tick in replica.clock().items()
        )
    return MachineSeen(name, entry.parent, entry.is_ready, states, entry.args)


def complete(text: str, machines: Sequence[MachineSeen]) -> Candidates:
    """The words that may end the text before the cursor."""
    words = text.split()
    typed = words.pop() if words and not text[-1:].isspace() else ""
    if not words:
        return _beginning(typed, PARSERS)
    parser = PARSERS.get(words[0])
    if parser is None:
        return Candidates([], typed)
    return _beginning(typed, _Line.read(parser, words[1:]).next_words(typed, machines))


def _beginning(typed: str, words: Iterable[str]) -> Candidates:
    return Candidates([word for word in dict.fromkeys(words) if word.startswith(typed)], typed)


@dataclass(slots=True)
class _Line:
    """The complete words behind a command, sorted.

    Attributes:
        parser: Of the command.
        positionals: Words that are no options and no values of one.
        options: The options, with what was given to each.
        open_option: The option whose value comes next; "" if none does.
    """

    parser: CommandParser
    positionals: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    open_option: str = ""

    @classmethod
    def read(cls, parser: CommandParser, words: Iterable[str]) -> _Line:
        """Sort the words."""
        line = cls(parser)
        for word in words:
            if line.open_option:
                line.options.append((line.open_option, word))
                line.open_option = ""
            elif parser.values.get(word) is not None:
                line.open_option = word
            elif word.startswith("-"):
                option, _, value = word.partition("=")
                line.options.append((option, value))
            else:
                line.positionals.append(word)
        return line

    def next_words(self, typed: str, machines: Sequence[MachineSeen]) -> Iterator[str]:
        """Everything that may come next."""
        if self.open_option:
            yield from self._named(self.parser.values[self.open_option], machines)
        elif typed.startswith("-"):
            yield from self._options()
        else:
            yield from self._named(self._positional(), machines)

    def _positional(self) -> Names | None:
        kinds = self.parser.positionals
        if len(self.positionals) < len(kinds):
            return kinds[len(self.positionals)]
        return Names.STATES if kinds and kinds[-1] is Names.STATES else None

    def _options(self) -> Iterator[str]:
        """The options; an --arg first, then its --val."""
        for option in self.parser.values:
            if option == "--arg" and self._arg_lacks_value():
                yield "--val"
            elif option != "--val":
                yield option

    def _arg_lacks_value(self) -> bool:
        names = sum(option == "--arg" and "=" not in value for option, value in self.options)
        return names > sum(option == "--val" for option, _ in self.options)

    def _named(self, names: Names | None, machines: Sequence[MachineSeen]) -> Iterator[str]:
        if names is Names.MACHINE:
            if any(machine.ready for machine in machines):
                yield FIRST_READY
            yield from (machine.name for machine in machines)
        elif names is Names.PARENT:
            yield from (machine.parent for machine in machines if machine.parent)
        elif names is Names.COMMAND:
            yield from PARSERS
        elif names is Names.STATE or names is Names.STATES:
            for state in (state for machine in self._meant(machines) for state in machine.states):
                if names is Names.STATE or self._makes_sense(state):
                    yield state.name
        elif names is Names.ARG:
            yield from self._args(machines)

    def _meant(self, machines: Sequence[MachineSeen]) -> list[MachineSeen]:
        """The machine that the line names; all of them for a command about many."""
        if Names.MACHINE not in self.parser.positionals:
            return [machine for machine in machines if machine.ready]
        name = self.positionals[0] if self.positionals else FIRST_READY
        if name == FIRST_READY:
            return [machine for machine in machines if machine.ready][:1]
        return [machine for machine in machines if machine.name == name]

    def _states_given(self) -> list[str]:
        return self.positionals[Names.MACHINE in self.parser.positionals :]

    def _makes_sense(self, state: StateSeen) -> bool:
        """Whether the command would change the state, or has to wait for it."""
        if state.name in self._states_given():
            return False
        command = self.parser.prog.removeprefix("group-")
        if command == "add":
            return state.multi or not state.active
        if command == "when":
            return not state.active
        return state.active if command in ("remove", "when-not") else True

    def _args(self, machines: Sequence[MachineSeen]) -> Iterator[str]:
        """Arguments of the states on the line; of all while there is none."""
        given = self._states_given()
        for machine in self._meant(machines):
            others = {state.name for state in machine.states}.difference(given)
            for known in machine.args:
                owner, _, arg = known.rpartition(".")
                # What no state is called after may belong to any.
                if not given or owner not in others:
                    yield arg
