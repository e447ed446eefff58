"""What codec, types, schema and blobs do at the borders of what they take."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from amzmq.errors import FrameInvalid, InvalidArgs
from amzmq.machine import Machine, State
from amzmq.wire.blobs import CHUNK_LIMIT, WINDOW_LIMIT, BlobOffer, BlobReader
from amzmq.wire.codec import DEPTH_LIMIT, check_content, decode, decode_array, encode
from amzmq.wire.control import Chunk
from amzmq.wire.schema import schema_from_value, schema_hash, schema_value
from amzmq.wire.types import TypeRegistry, register_dataclass


@pytest.mark.parametrize("shown", [79, 80, 81, 200])
def test_a_long_value_is_cut_where_it_is_named(shown: int) -> None:
    value = "x" * (shown - 2)
    with pytest.raises(FrameInvalid) as caught:
        decode_array(encode(value))
    told = str(caught.value).removeprefix("a message is an array, this is ")
    assert told == repr(value) if shown <= 80 else told == repr(value)[:77] + "..."


def test_plain_values_beside_others_do_not_end_the_search_for_what_cannot_travel() -> None:
    check_content([1, "x", [None], {"a": 1}])
    for hidden in ([1, [2, {(1, 2): 3}]], ["x", {"a": [object()]}]):
        with pytest.raises(InvalidArgs):
            check_content(hidden)


@pytest.mark.parametrize(("depth", "fits"), [(DEPTH_LIMIT, True), (DEPTH_LIMIT + 1, False)])
def test_lists_go_as_deep_as_the_limit(depth: int, fits: bool) -> None:
    value: object = []
    for _ in range(depth - 1):
        value = [value]
    if fits:
        check_content(value)
        assert decode(encode(value)) == value
    else:
        with pytest.raises(InvalidArgs, match=f"more than {DEPTH_LIMIT} lists"):
            check_content(value)


def test_an_object_may_hold_a_map_with_keys_of_any_plain_type() -> None:
    @dataclasses.dataclass
    class Held:
        inner: object

    register_dataclass(Held, tag="limits.held")
    value = Held({1: "a", b"x": [{None: 2}], "s": ()})
    assert decode(encode(value)) == Held({1: "a", b"x": [{None: 2}], "s": []})


def test_a_dataclass_is_registered_under_its_name_or_the_tag_of_the_decorator() -> None:
    @register_dataclass(tag="limits.tagged")
    @dataclasses.dataclass
    class Tagged:
        value: int

    @register_dataclass
    @dataclasses.dataclass
    class Named:
        value: int

    assert isinstance(Tagged, type)
    assert b"limits.tagged" in encode(Tagged(1))
    assert Named.__qualname__.encode() in encode(Named(2))
    assert decode(encode([Tagged(1), Named(2)])) == [Tagged(1), Named(2)]


@pytest.mark.parametrize("fold", [0, 1])
def test_a_moment_that_is_there_twice_stays_the_one_it_was(fold: int) -> None:
    for moment in (datetime.datetime(2024, 10, 27, 2, 30, fold=fold), datetime.time(2, fold=fold)):
        arrived = decode(encode(moment))
        assert isinstance(arrived, datetime.datetime | datetime.time)
        assert (arrived, arrived.fold) == (moment, fold)


@pytest.mark.parametrize("value", [{1, 2}, frozenset("ab"), set(), {frozenset([1])}])
def test_a_set_arrives_as_the_set_it_was(value: object) -> None:
    arrived = decode(encode(value))
    assert (arrived, type(arrived)) == (value, type(value))


def test_only_so_many_tags_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    registry = TypeRegistry()
    for at in range(150):
        registry.decode(f"tag {at}", None)
        registry.decode(f"tag {at}", None)
    assert registry.unknown == 300
    assert len(caplog.records) == 100


@pytest.mark.parametrize(("auto", "multi", "flags"), [(0, 0, 0), (1, 0, 1), (0, 1, 2), (1, 1, 3)])
def test_the_flags_of_a_state_are_auto_and_multi(auto: bool, multi: bool, flags: int) -> None:
    state = State(auto=bool(auto), multi=bool(multi), tags=["t"])
    compiled = Machine({"A": state}).compiled
    row = schema_value(compiled)[0]
    assert isinstance(row, list)
    assert row[:2] == ["A", flags]
    again = schema_from_value(schema_value(compiled)).states["A"]
    assert (again.auto, again.multi, list(again.tags)) == (bool(auto), bool(multi), ["t"])
    assert len(schema_hash(compiled)) == 8


@pytest.mark.parametrize(
    ("window", "chunk", "fits"),
    [(1, 1, True), (WINDOW_LIMIT, CHUNK_LIMIT, True), (0, 1, False), (WINDOW_LIMIT + 1, 1, False),
     (1, 0, False), (1, CHUNK_LIMIT + 1, False)],
)  # fmt: skip
def test_windows_and_chunks_have_limits(window: int, chunk: int, fits: bool) -> None:
    def make() -> BlobReader:
        return BlobReader(b"t", BlobOffer.from_facts([10, chunk, b"", "later"]), window)

    if fits:
        assert make().offset == 0
    else:
        with pytest.raises((InvalidArgs, FrameInvalid)):
            make()


def test_half_a_window_is_asked_for_at_a_time() -> None:
    reader = BlobReader(b"t", BlobOffer(100, 10), window=4)
    first = reader.fetch()
    assert first is not None
    assert (first.offset, first.chunks, reader.in_flight) == (0, 4, 40)
    assert reader.fetch() is None
    for at in range(2):
        assert reader.receive(Chunk(b"t", at * 10, 10), b"x" * 10) == b"x" * 10
        reader.took(10)
        second = reader.fetch()
        assert (second is None) is (at == 0)
    assert second is not None
    assert (second.offset, second.chunks, reader.in_flight) == (40, 2, 40)


def test_a_third_of_a_window_is_too_little_to_ask_for() -> None:
    reader = BlobReader(b"t", BlobOffer(100, 10), window=3)
    reader.fetch()
    reader.receive(Chunk(b"t", 0, 10), b"x" * 10)
    reader.took(10)
    assert reader.fetch() is None


def test_a_hole_behind_the_first_byte_is_noticed_like_any_other() -> None:
    reader = BlobReader(b"t", BlobOffer(5, 1), window=4)
    reader.fetch()
    reader.receive(Chunk(b"t", 0, 1), b"x")
    reader.receive(Chunk(b"t", 2, 1), b"x")
    assert (reader.holes, reader.in_flight) == (1, 0)
    reader.restart()
    reader.fetch()
    reader.receive(Chunk(b"t", 3, 1), b"x")
    assert reader.holes == 2


def test_a_hole_is_noticed_once_and_again_after_a_new_start() -> None:
    reader = BlobReader(b"t", BlobOffer(100, 10), window=8)
    reader.fetch()
    late = Chunk(b"t", 20, 10)
    assert reader.receive(late, b"x" * 10) is None
    assert (reader.holes, reader.in_flight) == (1, 0)
    asked = reader.fetch()
    assert asked is not None
    assert asked.offset == 0
    assert reader.receive(late, b"x" * 10) is None
    assert (reader.holes, reader.in_flight) == (1, 80)
    reader.restart()
    reader.fetch()
    assert reader.receive(late, b"x" * 10) is None
    assert reader.holes == 2
