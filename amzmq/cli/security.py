"""Who may connect, and who we are: keys and rights as commands and configurations name them.

Both dataclasses are groups of options (`amzmq.cli.groups`) and can stand in a configuration. They
hold names of files; these are read when something is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amzmq.errors import AmzmqError

if TYPE_CHECKING:
    from amzmq.net import ZmqTransport
    from amzmq.net.authenticator import Authenticator
    from amzmq.net.keys import Keys
    from amzmq.rpc.server.limits import Limits
    from amzmq.rpc.server.rights import Policy

ANYBODY = "any"
"""What stands for `Lock.clients` where everybody who has the public key may connect."""

FOREIGN = "others than this host reach it; give bind_key and clients, or insecure"
"""What to do about an address that is not locked and ought to be."""

_PANEL = "Keys"


@dataclass(frozen=True, slots=True)
class Unfit:
    """A key, folder or policy that cannot be used.

    Attributes:
        field: Which one, as the dataclass calls it.
        value: What was given.
        remedy: What to do.
    """

    field: str
    value: object
    remedy: str

    def __str__(self) -> str:
        flag = f"--{self.field.replace('_', '-')}"
        return (
            f"{flag}: {self.remedy}"
            if self.value is True
            else f"{flag} {self.value}: {self.remedy}"
        )


class SecurityUnfit(AmzmqError):
    """Keys or rights that cannot be used; the message names the option and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a source, and who the source has to be.

    Attributes:
        server_key: The source's public key, as text or a .pub file; empty for one without keys.
        key: File of our secret key; empty for a new one each time.
    """

    server_key: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            envvar="AMZMQ_SERVER_KEY",
            rich_help_panel=_PANEL,
            help="The source's public key: its text, or a .pub file.",
            show_default=False,
        ),
    ] = ""
    key: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            envvar="AMZMQ_KEY",
            rich_help_panel=_PANEL,
            help="Your secret key, NAME.key.",
            show_default=False,
        ),
    ] = ""

    def unfit(self) -> Iterator[Unfit]:
        """What cannot be used, and why: once for a field at most."""
        from amzmq.net.keys import Keys, public_key

        if self.server_key:
            yield from _tried("server_key", self.server_key, public_key)
        if self.key and not self.server_key:
            yield Unfit("key", self.key, "useless without server_key, the source's public key")
        elif self.key:
            yield from _tried("key", self.key, Keys.load)

    def keys(self) -> Keys | None:
        """Our pair.

        Raises:
            SecurityUnfit: Something of this cannot be used.
        """
        from amzmq.net.keys import Keys

        _refuse(self.unfit())
        return Keys.load(self.key) if self.key else None

    def transports(self) -> Callable[[], ZmqTransport]:
        """What makes transports that connect so; the files are read now, and never again.

        Raises:
            SecurityUnfit: Something of this cannot be used.
        """
        from amzmq.net import ZmqTransport
        from amzmq.net.keys import public_key

        keys = self.keys()
        server_key = public_key(self.server_key) if self.server_key else None
        return partial(ZmqTransport, curve=keys, server_key=server_key)

    def told(self) -> str:
        """As a sentence for people."""
        if not self.server_key:
            return "believes whoever answers"
        who = f"with {self.key}" if self.key else "under a new key each time"
        return f"expects the key {self.server_key}, connects {who}"


@dataclass(frozen=True, slots=True)
class Lock:
    """Who may connect to what is served, and what they may do.

    Attributes:
        bind_key: File of the secret key that it is served with; empty serves without keys.
        clients: Folder with the .pub files of who may connect, or `ANYBODY`.
        rights: File of a policy; empty lets everybody who may connect do everything.
        insecure: Whether others than this host may reach it although nothing locks it.
    """

    bind_key: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            envvar="AMZMQ_BIND_KEY",
            rich_help_panel=_PANEL,
            help="Lock what is served by this secret key.",
            show_default=False,
        ),
    ] = ""
    clients: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            envvar="AMZMQ_CLIENTS",
            rich_help_panel=_PANEL,
            help="Who may connect: a folder of .pub files, or any.",
            show_default=False,
        ),
    ] = ""
    rights: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            envvar="AMZMQ_RIGHTS",
            rich_help_panel=_PANEL,
            help="What each of them may do: a TOML file.",
            show_default=False,
        ),
    ] = ""
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="AMZMQ_INSECURE",
            rich_help_panel=_PANEL,
            help="Serve beyond this host without keys, where the network keeps strangers out.",
        ),
    ] = False

    def unfit(self) -> Iterator[Unfit]:
        """What cannot be used, and why: once for a field at most."""
        from amzmq.net.authenticator import KeyDirectory
        from amzmq.net.keys import Keys
        from amzmq.rpc.server.rights import Policy

        if self.bind_key and self.insecure:
            yield Unfit("insecure", True, "bind_key locks it; take one of the two out")
        if self.bind_key and not self.clients:
            remedy = (
                f"nothing says who may connect; give clients, a folder of .pub files, or {ANYBODY}"
            )
            yield Unfit("bind_key", self.bind_key, remedy)
        elif self.bind_key:
            yield from _tried("bind_key", self.bind_key, Keys.load)
        if self.clients and not self.bind_key:
            yield Unfit("clients", self.clients, "useless without bind_key, a secret key's file")
        elif self.clients and self.clients != ANYBODY:
            yield from _tried("clients", self.clients, KeyDirectory)
        if self.rights and not self.bind_key:
            remedy = "nobody is known without keys; give bind_key and clients"
            yield Unfit("rights", self.rights, remedy)
        elif self.rights:
            yield from _tried("rights", self.rights, Policy.load)

    def authenticator(self) -> Authenticator | None:
        """Who may connect."""
        from amzmq.net.authenticator import AnyKey, KeyDirectory

        if not self.clients:
            return None
        return AnyKey() if self.clients == ANYBODY else KeyDirectory(self.clients)

    def transport(self, limits: Limits | None = None) -> ZmqTransport:
        """What serves so.

        Args:
            limits: Of what it is to serve: how long a handshake may take.

        Raises:
            SecurityUnfit: Something of this cannot be used.
        """
        from amzmq.net import SocketOptions, ZmqTransport
        from amzmq.net.keys import Keys

        _refuse(self.unfit())
        options = SocketOptions()
        if limits is not None:
            options = replace(options, handshake_ms=round(limits.handshake * 1000))
        return ZmqTransport(
            options,
            curve=Keys.load(self.bind_key) if self.bind_key else None,
            authenticator=self.authenticator(),
            insecure=self.insecure,
        )

    def policy(self) -> Policy | None:
        """What each user may do: a new one each time, as each Mux watches its file by itself."""
        from amzmq.rpc.server.rights import Policy

        return Policy.load(self.rights) if self.rights else None

    def told(self, bind: str) -> str:
        """As a sentence for people, about what is served at an address."""
        from amzmq.net.curve import is_local

        if not self.bind_key:
            return "open to this host" if is_local(bind) else "INSECURE, open to whoever reaches it"
        if self.clients == ANYBODY:
            who = "whoever has its public key"
        else:
            known = len(list(Path(self.clients).glob("*.pub")))
            who = f"{known} key{'s' * (known != 1)} of {self.clients}"
        rights = f", rights of {self.rights}" if self.rights else ", who may do everything"
        return f"locked by {self.bind_key} for {who}{rights}"


def _tried(field: str, value: str, use: Callable[[str], object]) -> Iterator[Unfit]:
    try:
        use(value)
    except AmzmqError as error:
        # What stands before it already need not be said twice.
        reason = str(error).removeprefix(f"key file {value!r}: ").removeprefix(f"{value}: ")
        yield Unfit(field, value, reason)


def _refuse(unfit: Iterator[Unfit]) -> None:
    for first in unfit:
        raise SecurityUnfit(str(first))
