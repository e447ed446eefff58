"""The command that makes CURVE keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amzmq.cli.arguments import AsJson, print_json
from amzmq.cli.outcome import fail, one_line_errors

NAME = "amzmq"


def keygen(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[DIR/NAME]",
            help="What the keys are called, perhaps in a directory, which is made if needed.",
        ),
    ] = NAME,
    as_json: AsJson = False,
) -> None:
    """Make a new pair of CURVE keys: NAME.key, which is secret, and NAME.pub to hand out.

    Existing files are never overwritten. The secret key's file can be read by its owner alone.

    Example: amzmq keygen keys/door
    """
    from amzmq.net.keys import PUBLIC_SUFFIX, SECRET_SUFFIX, Keys

    stem = name.removesuffix(SECRET_SUFFIX).removesuffix(PUBLIC_SUFFIX)
    if not Path(stem).name or stem.endswith(("/", "..")):
        fail(f"{name!r} names no keys; write DIR/NAME, e.g. keys/door")
    secret = Path(stem + SECRET_SUFFIX)
    with one_line_errors():
        try:
            secret.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fail(f"{secret.parent} cannot be made: {error.strerror}; choose another directory")
        keys = Keys.generate()
        public = keys.save(secret)
    if as_json:
        print_json({"secret": str(secret), "public": str(public), "key": keys.public})
    else:
        print(f"{secret}  the secret key: keep it where it is used")
        print(f"{public}  the public key: {keys.public}")
