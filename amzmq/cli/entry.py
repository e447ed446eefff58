"""The console script: the command, or how to install what it needs."""

from __future__ import annotations

import sys
from importlib.util import find_spec

EXTRA = ("typer", "rich")


def main() -> None:
    """Run the command; exit status 2 and one line when the `cli` extra is not installed."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        needed = " and ".join(missing)
        print(
            f"amzmq: the command needs {needed}; install it: pip install 'amzmq[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from amzmq.cli.app import app

    app(prog_name="amzmq")
