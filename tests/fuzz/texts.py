"""What people write: addresses, key files, policies, configurations; and what libzmq asks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import zmq
from zmq.utils import z85

from amzmq.errors import AmzmqError
from amzmq.net import Keys
from amzmq.net.addresses import bind, connect, feed_endpoint
from amzmq.net.authenticator import AnyKey, KeyDirectory
from amzmq.net.curve import CurveCounts
from amzmq.net.keys import public_key
from amzmq.net.memory import check_endpoint
from amzmq.net.zap import DOMAIN, ZapHandler
from amzmq.rpc.client.talk import reachable
from amzmq.rpc.server.rights import Policy
from amzmq.sidecar.loading import Sources, load
from amzmq.wire.codec import decode, encode
from tests.fuzz.target import Finding, Play, Target, Traces


class _Nowhere:
    """A socket that binds and connects to nothing: the address is all that is looked at."""

    def bind(self, endpoint: str) -> None:
        raise zmq.ZMQError(22)

    connect = bind


def _addresses(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    socket = cast("zmq.Socket[bytes]", _Nowhere())
    checks: list[Callable[[], object]] = [
        lambda: feed_endpoint(text),
        lambda: check_endpoint(text),
        lambda: reachable(text, "tcp://127.0.0.1:7701"),
        lambda: connect(socket, text),
        lambda: bind(socket, text),
    ]
    for check in checks:
        with suppress(AmzmqError):
            check()


class _File:
    """Plays inputs as the content of a file, in memory where there is a place for it."""

    def __init__(self, read: Callable[[Path], None], name: str) -> None:
        memory = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self._path = Path(self._folder.name) / name
        self._path.touch(0o600)
        self._read = read

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        with suppress(AmzmqError):
            self._read(self._path)

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()


def _in_file(read: Callable[[Path], None], name: str) -> Callable[[Traces], Play]:
    return lambda traces: _File(read, name)


def _key_file(path: Path) -> None:
    with suppress(AmzmqError):
        Keys.load(path)
    with suppress(AmzmqError):
        KeyDirectory(path.parent)
    data = path.read_bytes()
    with suppress(AmzmqError):
        public_key(data)
    with suppress(AmzmqError, UnicodeDecodeError):
        text = data.decode("utf-8")
        if len(text) == 40 and "/" not in text:
            public_key(text)
    public_key(path)


_PUBLIC = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


def _policy(path: Path) -> None:
    policy = Policy.load(path)
    for user in ("operator", "reader", "*", ""):
        rights = policy.of(user).on("door", ("Open", "Closed"))
        if user in ("", "*") and not rights.nothing:
            raise Finding(f"user {user!r} may do something")


_POLICY = """
[operator]
machines = ["door*"]
read = true
mutate = ["Open", "Close*"]
kinds = ["add", "remove"]
payload = true
admin = false
["*"]
read = ["Ready"]
"""

_CONFIG = """
[daemon]
name = "sidecar"
bind = "tcp://127.0.0.1:7791"
http = "127.0.0.1:7790"
log_level = "info"
[jobs.web]
kind = "exec"
command = ["python3", "-m", "http.server"]
restart = "on-failure"
ready = { tcp = "127.0.0.1:8000", interval = 0.5 }
backoff = { initial = 0.1, factor = 2 }
stop_signal = "SIGINT"
env = { A = "1" }
states = { Busy = { require = ["Running"], multi = true } }
[jobs.up]
kind = "relay"
upstream = ["tcp://127.0.0.1:7701"]
[jobs.code]
kind = "attach"
target = "package.module:machine"
"""


def _config(path: Path) -> None:
    load(Sources(path))


class _ZapInMemory(ZapHandler):
    """The handler between lists of frames instead of sockets."""

    def __init__(self) -> None:
        self._authenticator = AnyKey()
        self._counts = CurveCounts()
        self._request: list[zmq.Frame] = []
        self._answered: list[bytes] = []
        self._recv = lambda *args, **options: self._request.pop(0)  # type: ignore[assignment]
        self._send = lambda part, *args: self._answered.append(part)  # type: ignore[assignment]

    def ask(self, frames: list[bytes]) -> list[bytes]:
        self._answered.clear()
        self._request = [_frame(data, data is not frames[-1]) for data in frames]
        self._take_one()
        return self._answered

    __slots__ = ("_answered", "_request")


class _Part:
    def __init__(self, data: bytes, more: bool) -> None:
        self.bytes = data
        self.more = more


def _frame(data: bytes, more: bool) -> zmq.Frame:
    return cast(zmq.Frame, _Part(data, more))


def _zap(traces: Traces) -> Play:
    handler = _ZapInMemory()

    def play(data: bytes) -> None:
        frames: object = None
        with suppress(AmzmqError):
            frames = decode(data)
        if not isinstance(frames, list) or not frames:
            return
        told = [frame if isinstance(frame, bytes) else b"" for frame in frames]
        answer = handler.ask([bytes(bytearray(frame)) for frame in told])
        if len(answer) != 6 or answer[2] not in (b"200", b"300"):
            raise Finding(f"answered by {answer}")
        fits = len(told) == 7 and told[2] == DOMAIN and told[5] == b"CURVE" and len(told[6]) == 32
        if (answer[2] == b"200") != fits:
            raise Finding(f"{told} is answered by {answer}")
        traces.check()

    return play


def _zap_seeds() -> list[bytes]:
    key = z85.decode(_PUBLIC)
    return [encode([b"1.0", b"1", DOMAIN, b"127.0.0.1", b"", b"CURVE", key]),
            encode([b"1.0", b"1", DOMAIN, b"127.0.0.1", b"", b"NULL"])]  # fmt: skip


TARGETS = [
    Target("zap", _zap, _zap_seeds),
    Target("addresses", lambda traces: _addresses, lambda: [
        b"tcp://127.0.0.1:7701", b"tcp://*:*", b"ipc:///nowhere/app.sock", b"tcp://[::1]:0",
        b"inproc://x", "tcp://a:\u00b2".encode()], is_packed=False, max_size=128),
    Target("key-files", _in_file(_key_file, "user.pub"), lambda: [
        f"{_PUBLIC}\n".encode(), f"# comment\n\n{_PUBLIC}".encode()], is_packed=False),
    Target("policy", _in_file(_policy, "rights.toml"), lambda: [_POLICY.encode()],
           is_packed=False, max_size=2048),
    Target("sidecar-config", _in_file(_config, "sidecar.toml"), lambda: [_CONFIG.encode()],
           is_packed=False, max_size=4096),
]  # fmt: skip
