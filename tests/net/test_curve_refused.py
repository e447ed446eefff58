"""What is not opened at all: with wrong keys, half a configuration, or for strangers."""

from __future__ import annotations

from pathlib import Path

import pytest

from amzmq.errors import AddressInvalid
from amzmq.net import ZmqTransport
from amzmq.net.authenticator import KeyDirectory
from amzmq.net.curve import Insecure, is_local
from amzmq.net.keys import KeyFileError, KeyInvalid

from .curve_rig import (
    ALICE,
    BOB,
    LOCAL,
    OPTIONS,
    Hosts,
    allow,
    said,
)
from .rig import Ends, until

# The directory of keys.


def test_a_directory_is_refused_while_a_file_in_it_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nowhere.*No such file.*\*\.pub"):
        KeyDirectory(tmp_path / "nowhere")
    allow(tmp_path, "alice", ALICE)
    (tmp_path / "bob.pub").write_text("no key")
    with pytest.raises(KeyInvalid, match=r"bob\.pub"):
        KeyDirectory(tmp_path)
    allow(tmp_path, "bob", ALICE)
    with pytest.raises(KeyFileError, match=r"bob\.pub.*user 'alice'.*remove one"):
        KeyDirectory(tmp_path)
    (tmp_path / "bob.pub").rename(tmp_path / "*.pub")
    with pytest.raises(KeyFileError, match="no user name"):
        KeyDirectory(tmp_path)


def test_a_file_that_becomes_wrong_shuts_its_user_out(
    allowed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyDirectory(allowed)
    assert not keys.reload()
    (allowed / "alice.pub").write_text("no key")
    assert keys.reload()
    assert keys.user(ALICE.public) == ""
    assert keys.user(BOB.public) == "bob"
    assert "alice.pub" in caplog.text
    (allowed / "README").write_text("of no importance")
    assert not keys.reload()


def test_a_directory_that_cannot_be_read_changes_nothing(
    allowed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyDirectory(allowed)
    allowed.rename(allowed.with_name("elsewhere"))
    assert not keys.reload()
    assert not keys.reload()
    assert keys.user(ALICE.public) == "alice"
    assert caplog.text.count("those known so far stay") == 1
    allowed.mkdir()
    assert keys.reload()
    assert keys.user(ALICE.public) == ""


# What is not opened.


@pytest.mark.parametrize(
    "endpoint", ["tcp://*:0", "tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://eth0:0", "tcp://0:0"]
)
async def test_an_address_that_others_reach_is_not_bound_without_curve(endpoint: str) -> None:
    net = ZmqTransport(OPTIONS)
    with pytest.raises(Insecure, match=r"curve= and authenticator=.*insecure=True"):
        net.router(endpoint, Ends().on_peer)
    with pytest.raises(Insecure, match="whoever reaches"):
        net.publisher(endpoint, Ends().on_subscribe, Ends().ended.append, Ends().garbage.append)
    await net.close()


async def test_an_address_that_others_reach_is_bound_when_that_is_meant(
    hosts: Hosts, allowed: Path
) -> None:
    bare = ZmqTransport(OPTIONS, insecure=True)
    hosts.made.append(bare)
    assert bare.router("tcp://0.0.0.0:*", Ends().on_peer).endpoint.startswith("tcp://0.0.0.0:")
    assert hosts.source(allowed, "tcp://0.0.0.0:*").router.endpoint.startswith("tcp://0.0.0.0:")


def test_this_host_is_told_from_others() -> None:
    local = ["tcp://127.0.0.1:1", "tcp://127.9.9.9:*", "tcp://[::1]:1", "tcp://localhost:0"]
    assert all(map(is_local, [*local, "tcp://lo:1", "ipc:///run/a", "ipc://@a", "inproc://a"]))
    remote = ["tcp://10.0.0.1:1", "tcp://*:4000x", "tcp://[fe80::1]:1", "ws://127.0.0.1:1"]
    assert not any(map(is_local, [*remote, "tcp://127.0.0.1.example.org:1", "tcp://eth0:1"]))


async def test_where_curve_is_required_nothing_else_is_opened(hosts: Hosts) -> None:
    net = ZmqTransport(OPTIONS, curve_required=True)
    hosts.made.append(net)
    with pytest.raises(Insecure, match="every socket"):
        net.router(LOCAL, Ends().on_peer)
    with pytest.raises(Insecure, match="server_key="):
        net.dealer("tcp://127.0.0.1:1", Ends().on_message, Ends().edges.append)
    with pytest.raises(Insecure, match="server_key="):
        net.subscriber("tcp://127.0.0.1:1", Ends().frames.extend)


async def test_half_a_configuration_opens_nothing(hosts: Hosts, allowed: Path) -> None:
    keys_only = ZmqTransport(OPTIONS, curve=ALICE)
    authenticator_only = ZmqTransport(OPTIONS, authenticator=allowed)
    hosts.made.extend([keys_only, authenticator_only])
    with pytest.raises(Insecure, match="authenticator="):
        keys_only.router(LOCAL, Ends().on_peer)
    with pytest.raises(Insecure, match="server_key="):
        keys_only.dealer("tcp://127.0.0.1:1", Ends().on_message, Ends().edges.append)
    with pytest.raises(Insecure, match="curve=Keys"):
        authenticator_only.router(LOCAL, Ends().on_peer)


async def test_inproc_cannot_be_secured(hosts: Hosts, allowed: Path) -> None:
    with pytest.raises(AddressInvalid, match="no CURVE"):
        hosts.source(allowed, "inproc://a")
    with pytest.raises(AddressInvalid, match="no CURVE"):
        hosts.client(ALICE).subscriber("inproc://a", Ends().frames.extend)


async def test_an_address_in_use_leaves_the_transport_fit_for_another(
    hosts: Hosts, allowed: Path
) -> None:
    source = hosts.source(allowed)
    with pytest.raises(Exception, match="in use"):
        source.transport.router(source.router.endpoint, Ends().on_peer)
    second = source.transport.router(LOCAL, source.ends.on_peer)
    dealer = hosts.client(ALICE).dealer(second.endpoint, Ends().on_message, Ends().edges.append)
    await said(dealer)
    await until(lambda: source.ends.at_router)
