"""Looking whether an application can do its work."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from amzmq.sidecar.checks import split_host_port
from amzmq.sidecar.config import ReadyConfig

_BAD = 400
_STATUS_LINE = 4096


async def look(ready: ReadyConfig) -> str:
    """Look once, by TCP or HTTP.

    Returns:
        "" if it is fine, else what is not.
    """
    try:
        async with asyncio.timeout(ready.timeout):
            if ready.http:
                return await _ask(ready.http)
            host, port = split_host_port(ready.tcp)
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return ""
    except TimeoutError:
        return f"no answer within {ready.timeout:g} s"
    except (OSError, ValueError) as error:
        return str(error)


async def _ask(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    reader, writer = await asyncio.open_connection(host, parts.port or 80, limit=_STATUS_LINE)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii", "backslashreplace"))
        line = (await reader.readline()).decode("latin-1").strip()
    finally:
        writer.close()
    version, _, rest = line.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/") or not status.isdigit():
        return f"not an answer of HTTP: {line[:60]!r}"
    return "" if int(status) < _BAD else f"status {status}"
