"""Keys and their files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from amzmq.net.keys import KeyFileError, KeyInvalid, Keys, public_key


def test_each_pair_is_new_and_one_that_curve_takes() -> None:
    keys = Keys.generate()
    assert keys != Keys.generate()
    assert zmq.curve_public(keys.secret.encode()).decode() == keys.public


def test_a_secret_stays_out_of_the_repr() -> None:
    keys = Keys.generate()
    assert keys.public in repr(keys)
    assert keys.secret not in repr(keys)


def test_keys_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(KeyInvalid, match="does not belong"):
        Keys(Keys.generate().public, Keys.generate().secret)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    keys = Keys.generate()
    public = keys.save(tmp_path / "door.v2.key")
    assert public == tmp_path / "door.v2.pub"
    assert Keys.load(tmp_path / "door.v2.key") == keys
    assert public_key(public) == keys.public


def test_a_secret_is_written_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Keys.generate().save(tmp_path / "a.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_secret_that_others_may_use_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key"
    Keys.generate().save(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"0{mode:o}.*chmod 600 .*a.key"):
        Keys.load(path)
    path.chmod(0o400)
    assert Keys.load(path)


@pytest.mark.parametrize("there", ["a.key", "a.pub"])
def test_nothing_is_overwritten_and_nothing_is_left(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(KeyFileError, match=f"{there}.*it exists"):
        Keys.generate().save(tmp_path / "a.key")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_secret_needs_a_name_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"use 'a\.pub\.key'"):
        Keys.generate().save(tmp_path / "a.pub")


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="nowhere.*No such file"):
        Keys.generate().save(tmp_path / "nowhere" / "a.key")
    with pytest.raises(KeyFileError, match=r"a\.key.*No such file.*keygen"):
        Keys.load(tmp_path / "a.key")


def test_a_public_key_is_taken_in_every_form(tmp_path: Path) -> None:
    keys = Keys.generate()
    path = tmp_path / "a.pub"
    path.write_text(f"# the door's\n\n{keys.public}\n")
    raw = z85.decode(keys.public)
    for form in (keys.public, keys.public.encode(), raw, path, str(path)):
        assert public_key(form) == keys.public


def test_no_key_begins_like_a_comment() -> None:
    highest = z85.Z85CHARS.index(z85.encode(b"\xff" * 4)[:1])
    assert highest < z85.Z85CHARS.index(b"#")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "short",
        "a" * 39,
        "a" * 41,
        "a b" + "a" * 37,
        "#" * 40,
        "~" * 40,
        "a" * 40 + "\n" + "b" * 40,
    ],
)
def test_a_file_without_one_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.pub").write_text(content)
    with pytest.raises(KeyInvalid, match=r"a\.pub"):
        public_key(tmp_path / "a.pub")


@pytest.mark.parametrize("key", [b"", b"a" * 39, b"#" * 40, b"\xff" * 40])
def test_bytes_that_are_no_key_are_refused(key: bytes) -> None:
    with pytest.raises(KeyInvalid):
        public_key(key)


def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    secret = Keys.generate().secret
    path.write_text(secret + "x")
    path.chmod(0o600)
    with pytest.raises(KeyInvalid) as caught:
        Keys.load(path)
    assert secret not in str(caught.value)


def test_only_a_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.key", 0o600)
    with pytest.raises(KeyFileError, match="not a file"):
        Keys.load(tmp_path / "a.key")
    with pytest.raises(KeyFileError, match="not a file"):
        Keys.load(tmp_path)
