"""An address is free when the transport that held it has closed."""

from __future__ import annotations

from amzmq.net import ZmqTransport


async def test_an_address_can_be_bound_again_at_once_while_others_keep_the_context() -> None:
    other = ZmqTransport()
    other.router("tcp://127.0.0.1:0", lambda *message: None)
    endpoint = "tcp://127.0.0.1:0"
    feed = endpoint
    for _ in range(60):
        transport = ZmqTransport()
        router = transport.router(endpoint, lambda *message: None)
        publisher = transport.publisher(
            feed, lambda topic: True, lambda topic: None, lambda frame: None
        )
        endpoint, feed = router.endpoint, publisher.endpoint
        await transport.close()
    await other.close()


async def test_a_transport_closes_twice_and_without_sockets() -> None:
    transport = ZmqTransport()
    await transport.close()
    await transport.close()
