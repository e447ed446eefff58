"""``python -m amzmq``: the command, where its script is not on the path."""

from __future__ import annotations

from amzmq.cli.entry import main

if __name__ == "__main__":
    main()
