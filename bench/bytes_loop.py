"""The loop subscribe, get, process: what the worker does, whoever carries it.

A client waits for an event, looks at a value, and calls the operation that belongs to it, which
makes the worker take the next value and tell of the next event.
"""

from __future__ import annotations

import random

VALUES = ("Value1", "Value2", "Value3")


class Work:
    """The worker's side.

    Attributes:
        value: What it is at.
        done: Operations that belonged to the value.
        wrong: The others.
    """

    def __init__(self) -> None:
        self.value = VALUES[0]
        self.done = 0
        self.wrong = 0
        self._chance = random.Random(1)

    def call(self, operation: str) -> str:
        """Do an operation, and take the next value."""
        self.done += operation == self.value
        self.wrong += operation != self.value
        self.value = self._chance.choice(VALUES)
        return self.value
