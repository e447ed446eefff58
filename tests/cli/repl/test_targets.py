from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from amzmq.cli.repl.targets import Target, TargetInvalid, TargetKind, parse_target, watch
from tests.rpc.rig import soon, until

ADDR = "tcp://127.0.0.1:7701"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b.addr").write_text("127.0.0.1:2\n")
    (tmp_path / "a.addr").write_text("tcp://127.0.0.1:1")
    (tmp_path / "same.addr").write_text("127.0.0.1:1")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


@pytest.mark.parametrize("text", [ADDR, "ipc://run/door", "mem://x"])
def test_what_has_a_transport_is_an_address(text: str) -> None:
    target = parse_target(text)
    assert target == Target(TargetKind.ADDR, text)
    assert target.addresses() == [text]


def test_a_host_and_port_is_an_address_by_tcp() -> None:
    assert parse_target("127.0.0.1:7701").addresses() == [ADDR]


def test_a_folder_is_searched_to_its_bottom_for_address_files(folder: Path) -> None:
    target = parse_target(str(folder))
    assert target.kind is TargetKind.DIR
    assert target.addresses() == ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]


def test_a_file_may_have_several_addresses(folder: Path) -> None:
    (folder / "all").write_text("tcp://127.0.0.1:1\n\n 127.0.0.1:3 \n")
    target = parse_target(str(folder / "all"))
    assert target.kind is TargetKind.FILE
    assert target.addresses() == ["tcp://127.0.0.1:1", "tcp://127.0.0.1:3"]


def test_what_is_nothing_of_these_is_refused(folder: Path) -> None:
    for text in ("nowhere", "door:", ":7701", "door:http"):
        with pytest.raises(TargetInvalid, match=text):
            parse_target(text)
    with pytest.raises(TargetInvalid, match="is no file"):
        parse_target(str(folder), TargetKind.FILE)
    with pytest.raises(TargetInvalid, match="is no folder"):
        parse_target(str(folder / "a.addr"), TargetKind.DIR)


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "bad").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(TargetInvalid, match="cannot be read"):
        parse_target(str(folder / "bad")).addresses()


async def test_a_watch_tells_of_every_change_and_of_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "amzmq.repl")
    run = tmp_path / "run"
    told: list[list[str]] = []
    task = asyncio.create_task(watch(Target(TargetKind.DIR, str(run)), told.append, 0.005))
    try:
        await until(lambda: told == [[]])  # the folder may come later
        run.mkdir()
        (run / "a.addr").write_text(ADDR)
        await until(lambda: told == [[], [ADDR]])
        (run / "b.addr").write_bytes(b"\xff")
        await until(lambda: "cannot be read" in caplog.text)
        (run / "b.addr").unlink()
        (run / "a.addr").unlink()
        await until(lambda: told == [[], [ADDR], []])
    finally:
        task.cancel()
        await soon(asyncio.wait([task]))
    assert caplog.text.count("cannot be read") == 1
