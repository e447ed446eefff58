"""What a socket is allowed to use: queues, sizes, patience."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """Limits and timings of every socket a transport makes. The unit ends each name.

    Attributes:
        send_hwm: Frames queued for one peer before it counts as full; 0 is no limit.
        receive_hwm: Frames received and not yet read, per peer; 0 is no limit.
        linger_ms: How long closing may still send what is queued.
        max_frame_bytes: A peer that sends a larger frame is disconnected; our own larger
            frames raise `FrameTooLarge` before they are sent.
        full_ms: A dealer whose queue is full for this long counts its router as gone.
        heartbeat_interval_ms: Ping each connection this often; 0 is never.
        heartbeat_timeout_ms: A connection silent for this long after a ping is closed.
        handshake_ms: A new connection that did not finish its handshake by then is closed.
        reconnect_ms: The first wait before connecting again.
        reconnect_max_ms: The waits double up to this.
        send_buffer_bytes: The kernel's send buffer; None leaves the system's default.
        receive_buffer_bytes: The kernel's receive buffer; None leaves the system's default.
        recheck_ms: How often a transport that knows its peers' keys looks whether they still may.
        ipv6: Whether names may resolve to IPv6 addresses, and `*` binds both families.
    """

    # libzmq's own default is 1000. Our usual frame is about 100 bytes, so ten times that
    # costs 1 MB for a stalled peer and spares a healthy one a resync after a short pause.
    send_hwm: int = 10_000
    receive_hwm: int = 10_000
    # Enough to flush a farewell on a LAN; a dead peer must not hold an exit for longer.
    linger_ms: int = 200
    # gRPC limits a message to 4 MiB as well. Larger payloads are chunked above this room.
    max_frame_bytes: int = 4 * 1024 * 1024
    # etcd's raft detects a dead leader in 1 s, gRPC's keepalive in 20 s: a pause of the other
    # process of up to 3 s (GC, a paused VM) is survived.
    full_ms: int = 3000
    # The kernel tells at once of who ended, and the heartbeats of machines and clients find who
    # hangs; these only free its connection. They are rare because each costs libzmq a look
    # through all its timers, two a connection: with a thousand clients, one a second took a third
    # of a core for nothing. nginx gives up an idle client after 75 s.
    heartbeat_interval_ms: int = 60_000
    heartbeat_timeout_ms: int = 30_000
    # libzmq allows 30 s, which lets idle strangers hold connections; nginx's
    # client_header_timeout is 60 s, sshd's LoginGraceTime 120 s, for people. We are programs.
    handshake_ms: int = 3000
    # libzmq waits a constant 100 ms by default; a thousand clients of a restarted source
    # must not hammer it, so the waits double.
    reconnect_ms: int = 50
    reconnect_max_ms: int = 2000
    send_buffer_bytes: int | None = None
    receive_buffer_bytes: int | None = None
    # A directory of a thousand keys is looked through in 6 ms; sshd's answer to a key that was
    # removed is "at the next login", ours should not need one.
    recheck_ms: int = 1000
    ipv6: bool = False
