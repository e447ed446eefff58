"""The lab of one long life: a relay beside the direct followers, guests, and rounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.faults.lab import Lab
from tests.faults.process import Program
from tests.ports import free_addr
from tests.soak.pace import Pace

BELOW = {"b1": "full", "b2": "full"}
JOURNAL = 500
"""Messages: few, so that journals are full, and memory is flat, before it is measured."""


class SoakLab(Lab):
    """A source and a relay, with followers at both, and guests at the source.

    The meters are between the source and everybody else, the relay too.

    Args:
        folder: For the rounds.
        pace: How much happens.
        seed: Of what guests do.

    Attributes:
        below: The followers at the relay.
        guests: Those that come and go.
    """

    def __init__(self, folder: Path, pace: Pace, seed: int) -> None:
        super().__init__(folder / "1", journal=JOURNAL)
        self.below: Program
        self.guests: Program
        self.rounds = 1
        self.guests_seen = 0
        self._root = folder
        self._pace = pace
        self._seed = seed
        self._serial = 0
        self._guests_now = 0
        self._is_relay_new = False
        self.options |= {"load_s": pace.load_s, "call_s": pace.call_s}
        self.folder.mkdir()

    async def __aenter__(self) -> SoakLab:
        await super().__aenter__()
        await self.start_relay()
        self._is_relay_new = False
        self.below, self.guests = await asyncio.gather(
            Program.run(
                "followers",
                diary=self.diary(),
                addr=self._relay_door["addr"],
                names=BELOW,
                **self.options,
            ),
            self._invite(),
        )
        await self._let_guests_in()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for name in ("below", "guests"):
            if (program := getattr(self, name, None)) is not None:
                await program.kill()
        await super().__aexit__(*failure)

    @property
    def followers(self) -> tuple[Program, ...]:
        return (*super().followers, self.below, self.guests)

    @property
    def programs(self) -> tuple[Program, ...]:
        """All that run."""
        assert self.relay is not None
        return (self.source, self.relay, *self.followers)

    # The relay, and what can be replaced.

    async def start_relay(self) -> None:
        again = self.relay is not None
        self.relay = await Program.run(
            "relay",
            upstream=self.talk.addr,
            bind=self._relay_door["addr"] if again else free_addr(),
            feed=self._relay_door["feed"] if again else "",
            **self.options,
        )
        self._relay_door: dict[str, Any] = self.relay.hello
        self._is_relay_new = True

    async def replace(self, program: str, names: dict[str, str]) -> None:
        self._serial += 1
        await super().replace(
            program, {f"{name}-{self._serial}": view for name, view in names.items()}
        )

    async def replace_guests(self) -> None:
        """Kill the guests, and invite others."""
        await self._say_farewell()
        self.gone += list(await self.guests.ask("status"))
        await self.guests.kill()
        self.guests = await self._invite()
        await self._let_guests_in()

    async def _invite(self) -> Program:
        self._serial += 1
        return await Program.run(
            "tests.soak.guests",
            diary=self.diary(),
            addr=self.talk.addr,
            seed=self._seed + self._serial,
            prefix=self._serial,
            stay_s=self._pace.stay_s,
            **self.options,
        )

    async def _say_farewell(self) -> None:
        joined = await self.guests.ask("stop_churn")
        self.guests_seen += joined - self._guests_now
        self._guests_now = 0

    # Rounds.

    async def resume(self) -> None:
        """Begin to load it again."""
        await self.caller.ask("start_calls")
        await self.source.ask("start_load")
        await self._let_guests_in()

    async def _let_guests_in(self) -> None:
        await self.guests.ask("start_calls")
        await self.guests.ask("start_churn")

    async def settle(self) -> None:
        joined = await self.guests.ask("stop_churn")
        self.guests_seen += joined - self._guests_now
        self._guests_now = joined
        await self.guests.ask("stop_calls")
        await super().settle()

    async def rest(self) -> None:
        """End the load; nobody looks any more."""
        await self.guests.ask("stop_churn")
        for program in (self.guests, self.caller):
            await program.ask("stop_calls")
        await self.source.ask("stop_load")

    async def turn(self) -> tuple[Path, int, list[str]]:
        """Begin another round.

        Returns:
            The folder of the last one, what the journals held in it at least, and who has gone.
        """
        done = self.folder, 0 if self._is_relay_new else JOURNAL, self.gone
        self._is_relay_new, self.gone = False, []
        self.rounds += 1
        self.folder = self._root / f"{self.rounds}"
        self.folder.mkdir()
        # The source first: nobody may know anything before it does.
        for program in (self.source, *self.followers):
            await program.ask("turn", self.diary())
        return done

    async def end_all(self) -> list[str]:
        """End everybody; what was left behind."""
        left = [one for program in self.followers for one in await program.stop()]
        assert self.relay is not None
        return left + await self.relay.stop() + await self.source.stop()
