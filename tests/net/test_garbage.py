"""What people and libzmq may get wrong is refused in our words."""

from __future__ import annotations

from pathlib import Path

import pytest

from amzmq.errors import AddressInvalid
from amzmq.net import Keys
from amzmq.net.addresses import feed_endpoint
from amzmq.net.keys import KeyFileError, public_key
from tests.fuzz.target import watched_log
from tests.fuzz.texts import _ZapInMemory


@pytest.mark.parametrize("port", ["²", "٣", "", "x", "1" * 5000])
def test_a_port_is_of_ascii_digits(port: str) -> None:
    with pytest.raises(AddressInvalid, match="the port is missing"):
        feed_endpoint(f"tcp://127.0.0.1:{port}")


def test_the_feed_is_at_the_next_port() -> None:
    assert feed_endpoint("tcp://127.0.0.1:7701") == "tcp://127.0.0.1:7702"


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_path_that_cannot_be_one_is_no_key_file(path: str) -> None:
    with pytest.raises(KeyFileError, match="mend the path"):
        public_key(path)
    with pytest.raises(KeyFileError, match="mend the path"):
        Keys.load(Path(path))


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_question_of_too_few_parts_is_answered_with_no_and_without_a_traceback(
    parts: int,
) -> None:
    with watched_log() as traces:
        answer = _ZapInMemory().ask([b"1.0", b"7", b"amzmq", b"", b""][:parts])
        traces.check()
    assert answer[2] == b"300"
    assert answer[1] == (b"7" if parts > 1 else b"")
