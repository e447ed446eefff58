"""A Python that has imported what our programs need, and forks into each of them.

``python warm_server.py SOCKET``: SOCKET is the descriptor that requests come from. A request names
a program as the command line of `python` does, and brings descriptors: its three standard
streams, and one to write its process id and, when it has ended, its status to.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

IMPORTED = (
    "amzmq.cli.app",
    "amzmq.cli.sidecar",
    "amzmq.rpc.relay.relay",
    "amzmq.sidecar.daemon",
    "amzmq.sidecar.loading",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)
MAX_REQUEST = 1024 * 1024


def main(number: int) -> None:
    """Serve, until nobody asks any more; in a child, run what was asked for."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # children shall not copy it only to count references
    requests = socket.socket(fileno=number)
    requests.send(b"ready")
    asked = _serve(requests)
    if asked is not None:
        _run(*asked)


def _serve(requests: socket.socket) -> tuple[Sequence[str], str, Mapping[str, str]] | None:
    """Fork for each request; in the child, return what it asks for."""
    statuses: dict[int, int] = {}
    awake, wake = socket.socketpair()
    for sock in (awake, wake):
        sock.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(awake, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if awake in ready:
                awake.recv(4096)
                _tell_ended(statuses)
            if requests not in ready:
                continue
            data, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST, 4)
            if not data:
                return None
            *streams, status = fds
            if (pid := os.fork()) == 0:
                break
            os.write(status, b"%d\n" % pid)
            statuses[pid] = status
            for fd in streams:
                os.close(fd)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # As on a terminal, also where the tests run in the background of a script, which ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, fd in enumerate(streams):
        os.dup2(fd, target)
    for fd in (*fds, *statuses.values()):
        os.close(fd)
    for sock in (requests, awake, wake):
        sock.close()
    asked = json.loads(data)
    return asked["args"], asked["cwd"], asked["env"]


def _tell_ended(statuses: dict[int, int]) -> None:
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        fd = statuses.pop(pid)
        os.write(fd, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(fd)


def _run(args: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
    """Do what `python ARGS` does."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    while args[0] == "-W":
        args = args[2:]
    if args[0] == "-m":
        sys.argv, sys.path[0] = list(args[1:]), cwd
        runpy.run_module(args[1], run_name="__main__", alter_sys=True)
    elif args[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *args[2:]], ""
        exec(compile(args[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = list(args), str(Path(args[0]).parent)
        runpy.run_path(args[0], run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]))
