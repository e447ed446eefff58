"""How the fields of a message are checked: one letter for each kind of value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amzmq.errors import FrameInvalid
from amzmq.wire.codec import Value

_TESTS: dict[str, Callable[[Value], bool]] = {
    "i": lambda value: type(value) is int,  # not a bool
    "n": lambda value: type(value) is int and value >= 0,  # a natural number
    "t": lambda value: type(value) is bool,
    "s": lambda value: type(value) is str,
    "b": lambda value: type(value) is bytes,
    "I": lambda value: type(value) is list and all(type(item) is int for item in value),
    "B": lambda value: type(value) is list and all(type(item) is bytes for item in value),
    "D": lambda value: (
        value is None or (type(value) is dict and all(type(key) is str for key in value))
    ),
    "L": lambda value: value is None or type(value) is list,
    "N": lambda value: (
        value is None
        or (type(value) is list and all(type(item) is int and item >= 0 for item in value))
    ),
    "l": lambda value: type(value) is list,
    "*": lambda value: True,
}


class Form:
    """How to check one kind of message.

    Args:
        name: Of the message, for errors.
        letters: A test for each field.
        needed: How many fields have to be there; later ones have defaults.
    """

    __slots__ = ("_name", "_needed", "_tests")

    def __init__(self, name: str, letters: str, needed: int) -> None:
        self._name = name
        self._tests = tuple(_TESTS[letter] for letter in letters)
        self._needed = needed

    def checked(self, fields: Sequence[Value]) -> Sequence[Value]:
        """The fields that this version knows, of those that came.

        Raises:
            FrameInvalid: Some are missing, or of another type.
        """
        tests = self._tests
        values = fields[: len(tests)]
        if len(values) < self._needed:
            raise FrameInvalid(
                f"{self._name}: {len(values)} fields, at least {self._needed} needed"
            )
        for at, (test, value) in enumerate(zip(tests, values, strict=False)):
            if not test(value):
                raise FrameInvalid(f"{self._name}: field {at} is {type(value).__name__}")
        return values
