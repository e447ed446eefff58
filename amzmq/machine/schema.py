"""Schemas: what states there are and how they relate (spec machine 1).

A schema is a mapping from state name to `State`, or a class derived from `States`. Relations
are kept in the order given: that order decides priorities and handler order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeAlias

from amzmq.errors import SchemaError

EXCEPTION = "Exception"
START = "Start"
HEALTH_STATES = frozenset({"Heartbeat", "Healthcheck"})

Schema: TypeAlias = Mapping[str, "State"]


class StateName(str):
    """The name of a state, as an attribute of a `States` class; equal to the plain string."""

    __slots__ = ()


Names: TypeAlias = "str | State | Iterable[str | State]"


class State:
    """The definition of one state (spec machine 1.2).

    Args:
        auto: Tries to activate after every transition that changed a clock.
        multi: May be activated again while active; each time ticks by 2.
        require: States that must be active with this one.
        add: States pulled in with this one; optional, two levels deep.
        remove: States pushed out, and kept out, by this one.
        after: States whose handlers run before this one's.
        tags: Labels without a meaning of their own.

    Every relation takes one name or several; inside a `States` class also the `State` of an
    earlier attribute.
    """

    __slots__ = ("_name", "add", "after", "auto", "multi", "remove", "require", "tags")

    def __init__(
        self,
        *,
        auto: bool = False,
        multi: bool = False,
        require: Names = (),
        add: Names = (),
        remove: Names = (),
        after: Names = (),
        tags: str | Iterable[str] = (),
    ) -> None:
        self.auto = auto
        self.multi = multi
        self.require = _names("require", require)
        self.add = _names("add", add)
        self.remove = _names("remove", remove)
        self.after = _names("after", after)
        self.tags = (tags,) if isinstance(tags, str) else tuple(tags)
        self._name: StateName | None = None

    def extend(self, overlay: State) -> State:
        """A copy with the relations of `overlay` appended, and auto and multi if set there."""
        changes: dict[str, Any] = {
            kind: tuple(dict.fromkeys((*getattr(self, kind), *getattr(overlay, kind))))
            for kind in _RELATIONS
        }
        auto, multi = self.auto or overlay.auto, self.multi or overlay.multi
        return self.replace(auto=auto, multi=multi, **changes)

    def set(self, auto: bool, multi: bool, overlay: State) -> State:
        """A copy with both properties set, and the relations replaced that `overlay` has."""
        return self.set_rels(overlay).replace(auto=auto, multi=multi)

    def set_rels(self, overlay: State) -> State:
        """A copy with those relations replaced that `overlay` has."""
        return self.replace(**dict(overlay.relations()))

    def clone(self) -> State:
        """A copy."""
        return self.replace()

    def has_tag(self, tag: str) -> bool:
        """Whether the state carries exactly this tag."""
        return tag in self.tags

    def __set_name__(self, owner: type, name: str) -> None:
        if self._name is None:
            self._name = StateName(name)

    def __get__(self, instance: object, owner: type) -> StateName:
        assert self._name is not None, "a State is read as an attribute only after it has a name"
        return self._name

    def relations(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The relations that are set, in the order add, require, remove, after."""
        for kind in _RELATIONS:
            if names := getattr(self, kind):
                yield kind, names

    def has_objects(self) -> bool:
        """Whether a relation still refers to a `State` object instead of a name."""
        for relation in (self.add, self.require, self.remove, self.after):
            for item in relation:
                if isinstance(item, State):
                    return True
        return False

    def replace(self, **changes: Any) -> State:
        """A copy with some fields changed."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        return State(**(fields | changes))

    def key(self) -> tuple[object, ...]:
        """The whole definition as one hashable value."""
        relations = (self.require, self.add, self.remove, self.after)
        return (self.auto, self.multi, *relations, self.tags)

    def __eq__(self, other: object) -> bool:
        return self.key() == other.key() if isinstance(other, State) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by value, and not a key

    def __repr__(self) -> str:
        given = ", ".join(
            f"{name}={getattr(self, name)!r}" for name in _FIELDS if getattr(self, name)
        )
        return f"State({given})"


_RELATIONS = ("add", "require", "remove", "after")
_FIELDS = ("auto", "multi", "require", "add", "remove", "after", "tags")


def _names(kind: str, value: Names) -> tuple[str, ...]:
    """Normalise a relation; `State` objects stay until their names are known."""
    if isinstance(value, (str, State)):
        value = (value,)
    names = tuple(value)
    for name in names:
        if not isinstance(name, (str, State)):
            raise SchemaError(
                f"{kind}={name!r}: a relation takes state names, e.g. {kind}=['Start']"
            )
    return names  # type: ignore[return-value]


class States:
    """Base of schemas written as classes (spec machine 1.4).

    Subclassing inherits the states of the bases, which come first; a redefined state keeps its
    place and takes the new definition.

    >>> class Door(States):
    ...     Closed = State(remove="Open")
    ...     Open = State(remove=Closed)
    >>> Door.names(), Door.Open == "Open"
    (('Closed', 'Open', 'Exception'), True)
    """

    _definitions: ClassVar[dict[str, State]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, State)}
        for name, value in own.items():
            if value._name != name:
                raise SchemaError(
                    f"{cls.__name__}: {value._name} and {name} are one State object; write two"
                )
        definitions: dict[str, State] = {}
        for base in cls.__bases__:
            definitions |= _defined(base)
        definitions |= own
        cls._definitions = {
            name: _with_names(name, state, {id(own[key]): key for key in own})
            for name, state in definitions.items()
        }

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The state names in index order, `Exception` included."""
        names = tuple(cls._definitions)
        return names if EXCEPTION in names else (*names, EXCEPTION)

    @classmethod
    def schema(cls) -> dict[str, State]:
        """The definitions as a mapping, in index order."""
        return dict(cls._definitions)

    @classmethod
    def groups(cls) -> dict[str, tuple[str, ...]]:
        """Which class introduced which states: the own ones as ``self``, then each base's."""
        found: dict[str, tuple[str, ...]] = {}
        for owner in cls.__mro__:
            if not issubclass(owner, States) or owner is States:
                continue
            inherited = {name for base in owner.__bases__ for name in _defined(base)}
            names = tuple(name for name in owner._definitions if name not in inherited)
            found["self" if owner is cls else owner.__name__] = names
        return found


def _defined(base: type) -> Mapping[str, State]:
    return base._definitions if issubclass(base, States) else {}


def _with_names(name: str, state: State, known: Mapping[int, str]) -> State:
    """Replace `State` objects in the relations by the names they were given."""
    if not state.has_objects():
        return state

    def named(kind: str) -> tuple[str, ...]:
        relation: tuple[object, ...] = getattr(state, kind)
        names = []
        for item in relation:
            found = known.get(id(item)) if isinstance(item, State) else item
            if found is None:
                raise SchemaError(
                    f"state {name}: {kind} refers to a State object that is not a state of "
                    "this schema; use its name"
                )
            names.append(str(found))
        return tuple(names)

    return state.replace(**{kind: named(kind) for kind in _RELATIONS})


def definitions_of(schema: Schema | type[States]) -> dict[str, State]:
    """A schema in either form as a mapping name -> `State`, checked for type.

    Raises:
        SchemaError: It is neither form, or a name or a definition has the wrong type.
    """
    if isinstance(schema, type) and issubclass(schema, States):
        return schema.schema()
    if not isinstance(schema, Mapping):
        raise SchemaError(
            f"schema={schema!r}: give a mapping like {{'Open': State()}} or a States class"
        )
    for name, state in schema.items():
        if not isinstance(name, str) or not name:
            raise SchemaError(f"state name {name!r}: a name is a non-empty string")
        if not isinstance(state, State):
            raise SchemaError(f"state {name}: {state!r} is not a State(...)")
    if not any(state.has_objects() for state in schema.values()):
        return dict(schema)
    known = {id(state): name for name, state in schema.items()}
    return {name: _with_names(name, state, known) for name, state in schema.items()}


def parse_schema(schema: Schema) -> tuple[dict[str, State], list[SchemaError]]:
    """Sanitise a schema (spec machine 1.3).

    Returns:
        The sanitised copy, and the contradictions found; the copy is usable all the same.
    """
    parsed: dict[str, State] = {}
    errors: list[SchemaError] = []
    for name, state in schema.items():
        remove = _drop_first(state.remove, name)
        add = list(state.add)
        for other in state.add:
            if other in remove:
                remove = _drop_first(remove, other)
            elif other not in schema:
                add.remove(other)
        after = _drop_first(state.after, name)
        for other in state.require:
            if other in remove:
                errors.append(SchemaError(f"require-remove conflict for {name} to {other}"))
        for other in [other for other in remove if other not in schema]:
            remove = _drop_first(remove, other)
        for other in [other for other in after if other not in schema]:
            after = _drop_first(after, other)
        parsed[name] = state.replace(add=add, remove=remove, after=after)
    return parsed, errors


def _drop_first(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Without the first occurrence of `name`; later ones stay (a quirk of the reference)."""
    if name not in names:
        return names
    at = names.index(name)
    return names[:at] + names[at + 1 :]
