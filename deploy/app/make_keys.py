"""Makes the keys of a deployment: `python make_keys.py DIR`; what is there already stays.

    DIR/source/    own.key            clients/relay.pub
    DIR/relay/     own.key server.pub clients/relay.pub clients/follower.pub
    DIR/follower/  own.key server.pub

A role needs its own folder, and nobody else's. `server.pub` is the key of whom it follows; so a
relay that follows relays wants theirs there, which is its own `own.pub`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from amzmq.net.keys import Keys

FOLLOWS = {"relay": "source", "follower": "relay"}
SERVES = {"source": ("relay",), "relay": ("relay", "follower")}
ROLES = ("source", "relay", "follower")


def main(folder: str) -> None:
    """Make what is missing."""
    root = Path(folder)
    for role in ROLES:
        (root / role).mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (root / role / "own.key").exists():
            Keys.generate().save(root / role / "own.key")
            print(f"made {root / role / 'own.key'}")
    for role in ROLES:
        if role in FOLLOWS:
            shutil.copy(root / FOLLOWS[role] / "own.pub", root / role / "server.pub")
        for client in SERVES.get(role, ()):
            (root / role / "clients").mkdir(exist_ok=True)
            shutil.copy(root / client / "own.pub", root / role / "clients" / f"{client}.pub")


if __name__ == "__main__":
    main(*sys.argv[1:])
