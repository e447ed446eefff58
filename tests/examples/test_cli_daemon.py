from __future__ import annotations

import signal
from pathlib import Path

from tests.examples.programs import ANY, EXAMPLES, amzmq, python, running

FOLDER = EXAMPLES / "cli_daemon"
DAEMON = FOLDER / "daemon.py"
CLI = FOLDER / "cli.py"


async def test_a_command_connects_asks_and_gets_its_answer(tmp_path: Path) -> None:
    async with running(*python(DAEMON, ANY, str(tmp_path))) as daemon:
        addr = await daemon.addr()
        for operation in ("foo", "bar"):
            asking = python(CLI, operation, "--duration", "0.05", "--addr", addr)
            async with running(*asking) as cli:
                assert await cli.ended() == 0, cli.err
            assert cli.out[0] == "connected"
            assert cli.out[1].startswith("Payload: done for rc-cli-")
            assert cli.out[1].endswith(operation)
        await amzmq("when-not", addr, "OpFoo1", "OpBar2", "--timeout", "10")


async def test_an_operation_ends_when_its_client_leaves() -> None:
    async with running(*python(DAEMON, ANY)) as daemon:
        addr = await daemon.addr()
        async with running(*python(CLI, "foo", "--duration", "600", "--addr", addr)) as cli:
            await daemon.says("foo for rc-cli-")
            cli.send(signal.SIGKILL)
            await daemon.says("foo given up: rc-cli-")
        await amzmq("when-not", addr, "OpFoo1", "--timeout", "10")


async def test_an_operation_takes_the_place_of_the_one_before() -> None:
    async with running(*python(DAEMON, ANY)) as daemon:
        addr = await daemon.addr()
        async with running(*python(CLI, "foo", "--duration", "600", "--addr", addr)):
            await daemon.says("foo for rc-cli-")
            async with running(*python(CLI, "bar", "--duration", "0", "--addr", addr)) as second:
                assert await second.ended() == 0, second.err
            await amzmq("when-not", addr, "OpFoo1", "OpBar2", "--timeout", "10")


async def test_the_daemon_can_be_looked_at_and_ended_by_its_repl(tmp_path: Path) -> None:
    async with running(*python(DAEMON, ANY, str(tmp_path))) as daemon:
        repl = (await daemon.says("REPL: amzmq repl (.+)"))[1]
        assert (tmp_path / "daemon.addr").read_text(encoding="utf-8") == repl
        assert "Start" in await amzmq("repl", str(tmp_path), "--", "mach", "daemon")
        await amzmq("remove", repl, "Start")
        assert await daemon.ended() == 0, daemon.err
    assert not list(tmp_path.iterdir())


async def test_without_a_daemon_the_command_says_so_and_fails() -> None:
    async with running(*python(CLI, "foo", "--addr", "tcp://127.0.0.1:9")) as cli:
        assert await cli.ended() == 2
    assert any("tcp://127.0.0.1:9" in line for line in cli.err)
