"""amzmq: live state for everyone, without a broker."""

from amzmq.machine import Machine, Result, State, States

__all__ = ["Machine", "Result", "State", "States"]
