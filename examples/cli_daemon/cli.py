"""The command: `python cli.py foo|bar [--duration S] [--addr ADDR]`."""

import argparse
import sys
import time

from states import ADDR, OpArgs

from amzmq import AmzmqError, Result, blocking

OPERATIONS = {"foo": "OpFoo1", "bar": "OpBar2"}
PATIENCE = 5.0
"""Seconds that the answer may take longer than the work."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask the daemon for an operation.")
    parser.add_argument("operation", choices=OPERATIONS)
    parser.add_argument("--duration", type=float, default=1.0, help="seconds of work")
    parser.add_argument("--addr", default=ADDR, help="where the daemon is")
    options = parser.parse_args()
    try:
        return ask(options.operation, options.duration, options.addr)
    except AmzmqError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 2


def ask(operation: str, duration: float, addr: str) -> int:
    # A name of its own for each run, or the second of two would take the first one's place.
    name = f"cli-{time.time_ns()}"
    with blocking.Client(addr, name=name, conn_timeout=1.0, conn_retries=2) as client:
        print("connected", flush=True)
        answers = client.payloads("opdone", timeout=duration + PATIENCE)
        args = OpArgs(client.mach.id, duration)
        if client.net_mach.add(OPERATIONS[operation], args=args) is Result.CANCELED:
            print("refused", file=sys.stderr)
            return 1
        print("Payload:", next(answers).data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
