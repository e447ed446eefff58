"""What a child process runs: `python -m bench.child MODULE:FUNCTION PARAMS`."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from bench.channel import Channel

# The parent knows how long others may take, and if it ends, so does its pipe.
PATIENCE_S = 900.0


def play_role(role: str, channel: Channel, params: Mapping[str, Any]) -> None:
    """Call `module:name` with the channel; on an event loop if it is `async def`."""
    module, _, name = role.partition(":")
    outcome = getattr(importlib.import_module(module), name)(channel, **params)
    if inspect.iscoroutine(outcome):
        asyncio.run(outcome)


def main() -> int:
    # Ctrl-C reaches the whole group; our parent hears it too and ends us in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(os.dup(0), os.dup(1), PATIENCE_S)
    # What somebody prints must not get between the lines of the channel.
    os.dup2(2, 1)
    role, params = sys.argv[1:]
    try:
        play_role(role, channel, json.loads(params))
    except Exception:
        channel.send(error=traceback.format_exc())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
