"""`amzmq.Mux` and `amzmq.Client` for programs without asyncio: the same names, in calls that block.

>>> from amzmq import blocking
>>> def ring(addr: str) -> bool:
...     with blocking.Client(addr) as c:
...         c.net_mach.add("Bell")
...         return c.net_mach.when("Open").wait(5)
"""

from amzmq.blocking.blobs import Blob, BlobIterator, Offer
from amzmq.blocking.call import TimedOut
from amzmq.blocking.client import Client
from amzmq.blocking.listing import list_machines
from amzmq.blocking.mux import Mux
from amzmq.blocking.netmach import NetworkMachine
from amzmq.blocking.payloads import PayloadIterator

__all__ = [
    "Blob",
    "BlobIterator",
    "Client",
    "Mux",
    "NetworkMachine",
    "Offer",
    "PayloadIterator",
    "TimedOut",
    "list_machines",
]
