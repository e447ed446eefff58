"""Round unit costs, so that a test can compute in its head what a plan has to say."""

from __future__ import annotations

from bench.costs import UnitCosts, Work

UNITS = UnitCosts(
    loaded=Work(update_us=10.0, child_us=0.1, io_us=1.0, io_child_us=0.2, hop_us=5.0),
    single=Work(update_us=20.0, child_us=0.5, io_us=2.0, io_child_us=2.0, hop_us=30.0),
    apply_rate=50_000.0,
    direct_p50_us=200.0,
    direct_p99_us=500.0,
    hop_p50_us=100.0,
    hop_p99_us=300.0,
    node_kib=30_720.0,
    client_kib=51.2,
    fan_out=1_000.0,
)
