"""Server-sent events, as the HTML standard writes them."""

from __future__ import annotations

import json


def event_text(id: str, kind: str, data: object) -> str:
    r"""One event.

    >>> event_text("a-1", "change", {"n": 1})
    'id: a-1\nevent: change\ndata: {"n": 1}\n\n'
    """
    # JSON has no line ends of its own, so that one line of data is enough.
    return f"id: {id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
