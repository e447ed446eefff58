from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.command import TIMEOUT, amzmq, interrupt, invoke, one_line, running

FIGURES = {
    "subscribers": int,
    "converged": int,
    "files": int,
    "payloads_published": int,
    "payloads_received_min": int,
    "payloads_lost": int,
    "updates_published": int,
    "updates_applied_min": int,
    "gaps": int,
    "resyncs": int,
    "mutations": int,
    "latency_ms": dict,
    "seconds": float,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for number in range(50):
        (tmp_path / ("sub" if number % 2 else ".") / f"{number}.bin").write_bytes(os.urandom(300))
    return tmp_path


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return {int(child) for child in listed.split()}


def wait_for_children(pid: int, count: int) -> set[int]:
    deadline = time.monotonic() + TIMEOUT
    while len(found := children(pid)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def wait_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "followers outlived their source"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # An orphan may stay a zombie where nobody adopts it.
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_every_follower_ends_level_with_the_source(tree: Path) -> None:
    done = amzmq("demo", "--subscribers", "2", "--path", str(tree), "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(one_line(done.stdout))
    assert {name: type(value) for name, value in figures.items()} == FIGURES
    assert figures["subscribers"] == figures["converged"] == 2
    assert figures["files"] == figures["payloads_published"] == 50
    assert figures["payloads_received_min"] == 50
    assert figures["payloads_lost"] == 0
    # Start, two followers, and each file is one mutation at least.
    assert figures["mutations"] >= 53
    assert 0 < figures["updates_applied_min"] <= figures["updates_published"]
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]


def test_an_unreadable_file_is_told_of_and_the_demo_ends_well(tree: Path) -> None:
    (tree / "dangling").symlink_to("nowhere")
    done = amzmq("demo", "--subscribers", "1", "--path", str(tree))
    assert done.returncode == 0, done.stdout
    assert "could not be read" in done.stdout
    assert "1 of 1 followers equal the source" in done.stdout
    assert done.stdout.endswith("verdict: good\n")


def test_a_follower_that_dies_is_status_1(tree: Path) -> None:
    args = ("demo", "--subscribers", "2", "--path", str(tree), "--json")
    with running(*args) as demo:
        os.kill(min(wait_for_children(demo.pid, 2)), signal.SIGKILL)
        stdout, stderr = demo.communicate(timeout=TIMEOUT)
    assert demo.returncode == 1
    figures = json.loads(one_line(stdout))
    assert figures["subscribers"] == 2
    assert figures["converged"] < 2
    assert "gave no report" in stderr


def test_ctrl_c_ends_the_followers_too(tree: Path) -> None:
    with running("demo", "--subscribers", "1", "--path", str(tree), "--seconds", "30") as demo:
        followers = wait_for_children(demo.pid, 1)
        stdout, stderr = interrupt(demo)
    assert demo.returncode == 130
    assert (stdout, stderr) == ("", "")
    assert not any(alive(pid) for pid in followers)


def test_followers_do_not_outlive_a_source_that_is_killed(tree: Path) -> None:
    with running("demo", "--subscribers", "1", "--path", str(tree), "--seconds", "30") as demo:
        followers = wait_for_children(demo.pid, 1)
        demo.kill()
        demo.wait(timeout=TIMEOUT)
        wait_gone(followers)


def test_a_folder_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    done = invoke("demo", "--path", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
