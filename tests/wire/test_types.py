"""What is registered arrives as it was; what is not is named, on both sides."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import logging
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.errors import FrameInvalid, InvalidArgs
from amzmq.wire.codec import OBJECT_DEPTH_LIMIT, check_content, decode, encode
from amzmq.wire.control import Directed, Mutate
from amzmq.wire.control_frames import from_frame, to_frame
from amzmq.wire.feed import PayloadFrame, parse_body
from amzmq.wire.types import (
    EXT_CODE,
    TypeRegistry,
    Unregistered,
    register_dataclass,
    register_type,
)

from .strategies import values as plain


@register_dataclass(tag="test.point")
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@register_dataclass
@dataclass
class Box:
    at: Any
    label: str = ""
    area: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.label == "refused":
            raise ValueError("label")
        self.area = len(self.label)


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and other.degrees == self.degrees

    __hash__ = None  # type: ignore[assignment]


class Fever(Celsius):
    pass


class Zone(dt.tzinfo):
    """One whose offset depends on the date, like most."""

    def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta | None:
        return None if moment is None else dt.timedelta(hours=5)

    def dst(self, moment: dt.datetime | None) -> dt.timedelta | None:
        return None

    def tzname(self, moment: dt.datetime | None) -> str:
        return "Test"


register_type(Celsius, "test.celsius", lambda c: c.degrees, lambda degrees: Celsius(degrees))


offsets = st.integers(-86_399, 86_399).map(lambda s: dt.timezone(dt.timedelta(seconds=s)))
folds = st.sampled_from([0, 1])
moments = st.builds(
    lambda moment, fold: moment.replace(fold=fold),
    st.datetimes(timezones=st.none() | offsets),
    folds,
)
times = st.builds(
    lambda time, fold: time.replace(fold=fold), st.times(timezones=st.none() | offsets), folds
)
hashable = (
    moments | times | st.dates() | st.timedeltas() | st.uuids() | st.decimals(allow_nan=False)
)
elements = hashable | st.text() | st.binary() | st.none() | st.integers(-(2**63), 2**64 - 1)
registered = (
    hashable
    | st.sets(elements, max_size=4)
    | st.frozensets(elements | st.frozensets(elements, max_size=2), max_size=4)
    | st.builds(Point, st.integers(-9, 9), st.integers(-9, 9))
    | st.floats(allow_nan=False).map(Celsius)
)
nested = st.recursive(
    registered | plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.builds(Box, inner, st.sampled_from(["", "wide"]))
    ),
    max_leaves=8,
)


def facts(value: object) -> object:
    """What equality does not show."""
    if isinstance(value, (dt.datetime, dt.time)):
        return value.fold, value.utcoffset(), value.tzinfo is None
    return repr(value) if isinstance(value, decimal.Decimal) else type(value)


@given(registered)
def test_an_object_of_a_registered_type_arrives_as_it_was(value: object) -> None:
    arrived = decode(encode(value))
    assert arrived == value
    assert type(arrived) is type(value)
    assert facts(arrived) == facts(value)


@given(nested)
def test_registered_types_travel_wherever_plain_values_do(value: object) -> None:
    check_content(value)
    payload = parse_body(PayloadFrame(1, 1, "name", value, b"token").body())
    assert isinstance(payload, PayloadFrame)
    assert payload.data == value
    directed = from_frame(to_frame(Directed(1, 1, "name", value, b"token")))
    assert isinstance(directed, Directed)
    assert directed.data == value
    mutate = from_frame(to_frame(Mutate(1, 0, [0], {"arg": value}, 0)))
    assert isinstance(mutate, Mutate)
    assert mutate.args == {"arg": value}


@pytest.mark.parametrize("text", ["NaN", "sNaN", "-NaN123", "-0", "1E+5", "1.500", "Infinity"])
def test_a_decimal_keeps_what_equality_does_not_see(text: str) -> None:
    assert repr(decode(encode(decimal.Decimal(text)))) == repr(decimal.Decimal(text))


def test_a_named_zone_arrives_as_its_offset() -> None:
    arrived = decode(encode(dt.datetime(2026, 1, 2, tzinfo=Zone())))
    assert isinstance(arrived, dt.datetime)
    assert arrived.utcoffset() == dt.timedelta(hours=5)
    assert arrived == dt.datetime(2026, 1, 2, tzinfo=Zone())


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (dt.time(12, tzinfo=Zone()), "a time zone without an offset"),
        (dt.time(12, tzinfo=dt.timezone(dt.timedelta(microseconds=1))), "fraction of a second"),
        ({(1, 2)}, "(1, 2) of type tuple cannot be in a set"),
        (frozenset({Point(1)}), "Point(x=1, y=0) of type Point cannot be in a set"),
    ],
)
def test_what_would_lose_something_is_refused(value: object, named: str) -> None:
    with pytest.raises(InvalidArgs, match=re.escape(named)):
        encode(value)


def test_a_subclass_of_a_registered_class_is_not_taken_for_it() -> None:
    class Later(dt.datetime):
        pass

    for value, name in ((Fever(40.0), "Fever"), (Later(2026, 1, 2), "Later")):
        with pytest.raises(InvalidArgs, match=f"can not serialize '{name}' object"):
            encode([value])


def test_a_dataclass_that_is_not_registered_is_refused_by_name() -> None:
    @dataclass
    class Secret:
        word: str

    with pytest.raises(InvalidArgs, match="can not serialize 'Secret' object"):
        encode(Box(Secret("x")))


def test_an_encode_that_fails_names_its_type() -> None:
    class Broken:
        pass

    register_type(Broken, "test.broken", lambda obj: obj.missing, lambda value: Broken())  # type: ignore[attr-defined]
    with pytest.raises(InvalidArgs, match=r"the encode of 'test\.broken' failed: AttributeError"):
        encode(Broken())


class TestContentThatCannotBeRead:
    @pytest.mark.parametrize(
        ("value", "named"),
        [
            (Box({(1, 2): 3}), "(1, 2) cannot be a key"),
            (Box([msgpack.ExtType(5, b"x")]), "ExtType"),
            ([Box(msgpack.Timestamp(1, 2))], "Timestamp"),
        ],
    )
    def test_inside_of_an_object_is_refused(self, value: object, named: str) -> None:
        with pytest.raises(InvalidArgs, match=re.escape(named)) as caught:
            encode(value)
        assert "Box" in str(caught.value)

    @pytest.mark.parametrize("key", [dt.date(2026, 1, 2), Point(1), frozenset()])
    def test_an_object_as_a_key_is_refused(self, key: object) -> None:
        # The receiver may not know the type, and what it gets instead may not be hashable.
        with pytest.raises(InvalidArgs, match="cannot be a key"):
            check_content({key: 1})

    def test_objects_too_deep_within_each_other_are_refused(self) -> None:
        value: object = 1
        for _ in range(OBJECT_DEPTH_LIMIT):
            value = Box(value)
        assert decode(encode(value)) == value
        with pytest.raises(InvalidArgs, match=f"more than {OBJECT_DEPTH_LIMIT} objects"):
            encode(Box(value))

    def test_an_object_that_contains_itself_is_refused(self) -> None:
        box = Box(None)
        box.at = [box]
        with pytest.raises(InvalidArgs, match=f"more than {OBJECT_DEPTH_LIMIT} objects"):
            encode(box)


def ext(tag: object, value: object) -> bytes:
    packed: bytes = msgpack.packb(msgpack.ExtType(EXT_CODE, msgpack.packb([tag, value])))
    return packed


class TestArrival:
    def test_an_unknown_tag_becomes_an_unregistered_object(self) -> None:
        data: bytes = msgpack.packb([1, msgpack.unpackb(ext("test.nobody", {"a": 1})), 2])
        assert decode(data) == [1, Unregistered("test.nobody", {"a": 1}), 2]

    @given(value=nested)
    def test_an_unregistered_object_sent_on_is_what_it_was(self, value: object) -> None:
        data = encode([Unregistered("test.nobody", value)])
        assert decode(data) == [Unregistered("test.nobody", value)]
        assert decode(encode(decode(data))) == decode(data)

    def test_with_an_extension_of_others_in_it_it_is_sent_on_as_well(self) -> None:
        data: bytes = msgpack.packb(
            [msgpack.unpackb(ext("test.nobody", [msgpack.ExtType(77, b"x")]))]
        )
        assert encode(decode(data)) == data

    @pytest.mark.parametrize(
        ("tag", "value", "reason"),
        [
            ("datetime", "yesterday", "ValueError"),
            ("datetime", ["2026-01-02", 7], "ValueError"),
            ("datetime", None, "TypeError"),
            ("time", {}, "TypeError"),
            ("timedelta", [10**12, 0, 0], "OverflowError"),
            ("decimal", "1,5", "InvalidOperation"),
            ("uuid", b"short", "ValueError"),
            ("set", [[]], "TypeError"),
            ("set", [1, 1], "ValueError"),
            ("frozenset", 5, "TypeError"),
            ("test.point", {}, "TypeError"),
            ("test.point", [1], "AttributeError"),
            ("Box", {"at": 1, "label": "refused"}, "ValueError: label"),
        ],
    )
    def test_what_its_type_will_not_take_does_not_break_the_message(
        self, tag: str, value: object, reason: str
    ) -> None:
        arrived = decode(ext(tag, value))
        assert arrived == Unregistered(tag, value)
        assert isinstance(arrived, Unregistered)
        assert arrived.reason.startswith(reason)
        assert encode(arrived) == ext(tag, value)

    def test_fields_that_only_one_side_has_do_not_matter_if_they_can_be_left_out(self) -> None:
        assert decode(ext("test.point", {"x": 1, "z": 3})) == Point(1, 0)

    def test_a_type_that_grows_may_add_fields_behind_its_value(self) -> None:
        data = msgpack.packb(["test.celsius", 36.6, "later"])
        assert decode(msgpack.packb(msgpack.ExtType(EXT_CODE, data))) == Celsius(36.6)

    def test_an_extension_of_another_code_is_left_alone(self) -> None:
        foreign = msgpack.ExtType(EXT_CODE + 1, b"x")
        assert decode(msgpack.packb(foreign)) == foreign

    @pytest.mark.parametrize(
        "payload",
        [b"", b"\xc1", b"\x92\xa1a", msgpack.packb([]), msgpack.packb([1, 2]), msgpack.packb("a")],
    )
    def test_what_is_no_tag_and_value_is_invalid(self, payload: bytes) -> None:
        with pytest.raises(FrameInvalid, match="no msgpack value"):
            decode(msgpack.packb(msgpack.ExtType(EXT_CODE, payload)))

    def test_objects_within_each_other_without_end_do_not_exhaust_a_small_stack(self) -> None:
        data: bytes = msgpack.packb(1)
        for depth in range(300):
            if depth == OBJECT_DEPTH_LIMIT:
                deepest = data
            data = msgpack.packb(
                msgpack.ExtType(EXT_CODE, msgpack.packb(["test.nobody", None])[:-1] + data)
            )
        outcome: list[object] = []

        def read() -> None:
            outcome.append(type(decode(deepest)))
            try:
                decode(data)
            except FrameInvalid as error:
                outcome.append(str(error))

        size = threading.stack_size(256 * 1024)
        try:
            thread = threading.Thread(target=read)
            thread.start()
        finally:
            threading.stack_size(size)
        thread.join(10)
        assert outcome[0] is Unregistered
        assert f"more than {OBJECT_DEPTH_LIMIT} objects" in str(outcome[1])

    def test_what_cannot_be_made_is_counted_and_logged_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        types = TypeRegistry()
        types.register(Celsius, "c", lambda c: c.degrees, lambda degrees: Celsius(1 / degrees))
        with caplog.at_level(logging.WARNING, "amzmq.wire"):
            for _ in range(3):
                types.decode("c", 0)
                types.decode("nobody", 0)
        assert (types.failed, types.unknown) == (3, 3)
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert "'c'" in caplog.text
        assert "ZeroDivisionError" in caplog.text


class Color(enum.Enum):
    RED = "red"


class TestRegistration:
    def test_a_tag_belongs_to_one_class(self) -> None:
        types = TypeRegistry()
        types.register(Celsius, "degrees", lambda c: c.degrees, Celsius)
        with pytest.raises(InvalidArgs, match=r"tag 'degrees' of \S+Fever is taken by \S+Celsius"):
            types.register(Fever, "degrees", lambda c: c.degrees, Fever)
        assert Fever not in types

    def test_a_class_has_one_tag(self) -> None:
        types = TypeRegistry()
        types.register(Celsius, "degrees", lambda c: c.degrees, Celsius)
        with pytest.raises(InvalidArgs, match=r"Celsius is registered already, as 'degrees'"):
            types.register(Celsius, "other", lambda c: c.degrees, Celsius)
        assert types.decode("other", 1.0) == Unregistered("other", 1.0)

    def test_the_same_registration_may_be_repeated(self) -> None:
        register_type(Celsius, "test.celsius", lambda c: c.degrees, lambda d: Celsius(d))
        assert decode(encode(Celsius(3.0))) == Celsius(3.0)

    def test_a_built_in_type_cannot_be_taken(self) -> None:
        with pytest.raises(InvalidArgs, match="tag 'uuid'"):
            register_type(Color, "uuid", lambda color: color.value, Color)
        with pytest.raises(InvalidArgs, match="registered already, as 'uuid'"):
            register_type(uuid.UUID, "my-uuid", str, uuid.UUID)

    @pytest.mark.parametrize("base", [str, int, float, bytes, list, dict, tuple])
    def test_a_class_that_msgpack_would_flatten_is_refused(self, base: type) -> None:
        child = type("Child", (base,), {})
        with pytest.raises(InvalidArgs, match="Child inherits from a type that msgpack writes"):
            register_type(child, "test.child", lambda obj: 1, lambda value: child())

    @pytest.mark.parametrize("tag", ["", 5])
    def test_a_tag_is_a_text(self, tag: Any) -> None:
        with pytest.raises(InvalidArgs, match=r"Color: tag="):
            register_type(Color, tag, lambda color: color.value, Color)

    def test_only_classes_are_registered(self) -> None:
        not_a_class: Any = Color.RED
        with pytest.raises(InvalidArgs, match="give a class"):
            register_type(not_a_class, "test.red", lambda color: color, lambda value: value)
        with pytest.raises(InvalidArgs, match="give a dataclass"):
            register_dataclass(Celsius)
        with pytest.raises(InvalidArgs, match="give a dataclass"):
            register_dataclass(Point(1))  # type: ignore[call-overload]

    def test_an_enum_travels_once_it_is_registered(self) -> None:
        register_type(Color, "test.color", lambda color: color.value, Color)
        assert decode(encode({"paint": Color.RED})) == {"paint": Color.RED}

    def test_a_dataclass_is_called_by_its_qualified_name_unless_told(self) -> None:
        assert decode(ext("Box", {"at": 1})) == Box(1)
        assert decode(ext("test.point", {"x": 1})) == Point(1)

    def test_a_field_the_constructor_does_not_take_is_made_again(self) -> None:
        arrived = decode(encode(Box(None, "wide")))
        assert isinstance(arrived, Box)
        assert arrived.area == 4

    def test_a_dataclass_whose_objects_do_not_keep_what_makes_them_is_refused(self) -> None:
        @dataclass
        class Hashed:
            password: InitVar[str]
            digest: str = ""

        with pytest.raises(InvalidArgs, match=r"Hashed: its constructor takes password"):
            register_dataclass(Hashed)

    def test_registered_as_a_function_the_class_comes_back(self) -> None:
        made: Any = dataclasses.make_dataclass("Made", [("size", int)])
        assert register_dataclass(made, "test.made") is made
        obj: object = made(size=3)
        assert decode(encode(obj)) == obj

    def test_of_many_threads_that_want_one_tag_one_gets_it(self) -> None:
        types = TypeRegistry()
        start = threading.Barrier(8)
        won: list[type] = []

        def race(cls: type) -> Callable[[], None]:
            def run() -> None:
                start.wait(10)
                try:
                    types.register(cls, "wanted", lambda obj: 0, lambda value: value)
                except InvalidArgs:
                    return
                won.append(cls)

            return run

        threads = [threading.Thread(target=race(type(f"C{n}", (), {}))) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(won) == 1
        assert won[0] in types
