"""Blobs that others offer: chunks are asked for further up, and go on as they come.

    followers ──Fetch──►  Transit  ──Fetch──►  the node above
              ◄──Chunk──           ◄──Chunk──

Rules:
- Of each blob one run of chunks is asked for at a time: to the node above, all who ask here are
  one client. Whoever asks for the same chunks meanwhile gets them of the same run.
- A run grows while those whom it serves ask for more, unless somebody waits for another part:
  then it ends, and the next one is of who has waited longest.
- Nothing is asked for that nobody here has asked for, so a slow reader stops its own transfer.
- The newest chunks are kept for a moment, for those who are a little behind.
- Who asks, asks again when nothing comes: an answer that stays away only ends the run.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from amzmq.errors import FrameInvalid
from amzmq.rpc.blobdesk import ClientKey, SendFn, refuse
from amzmq.wire.blobs import CHUNK_LIMIT, WINDOW_LIMIT
from amzmq.wire.compression import decompress
from amzmq.wire.control import Chunk, Fetch, Refusal, RefusalCode

KEPT = 32
"""Chunks kept for those who are a little behind, of all blobs together: 8 MiB unless told."""

ASKS_LIMIT = 256
"""Blobs that one client may ask for at the same time; as many as a source offers."""

ANSWER_S = 3.0
"""Seconds without a chunk after which a run is given up; as long as a client waits."""


@dataclass(slots=True)
class TransitCounters:
    """What happened so far; only ever grows.

    Attributes:
        blob_fetches: Requests sent to the node above.
        blob_chunks_in: Chunks that came from there.
        blob_chunks_out: Chunks handed on.
        blob_chunks_lost: Chunks whose receiver was gone or full.
        blob_chunks_unasked: Chunks that came again, or that nobody had asked for.
        blob_refusals: Refusals handed on, and those made here.
        blob_timeouts: Requests that were not answered in time.
    """

    blob_fetches: int = 0
    blob_chunks_in: int = 0
    blob_chunks_out: int = 0
    blob_chunks_lost: int = 0
    blob_chunks_unasked: int = 0
    blob_refusals: int = 0
    blob_timeouts: int = 0


@dataclass(slots=True)
class _Ask:
    """What one client waits for: `left` chunks from a byte on, or to be confirmed."""

    next: int
    left: int
    confirms: bool
    send: SendFn
    understood: Sequence[str]
    at: float


@dataclass(slots=True)
class _Run:
    """What was asked of the node above and has not come: `left` chunks from a byte on."""

    next: int
    left: int
    confirms: bool
    at: float


@dataclass(slots=True)
class _Passage:
    """One blob, as long as somebody waits for some of it."""

    asks: OrderedDict[ClientKey, _Ask] = field(default_factory=OrderedDict)
    run: _Run | None = None
    chunk_size: int = 0


class Transit:
    """Answers fetches by asking the node above. Called on the event loop's own thread.

    Args:
        send: Sends a request to that node; False when there is no connection.
        answer_timeout: Seconds without a chunk after which a run is given up.

    Attributes:
        counters: What happened so far.
    """

    def __init__(self, send: Callable[[Fetch], bool], answer_timeout: float = ANSWER_S) -> None:
        self.counters = TransitCounters()
        self._send = send
        self._answer_timeout = answer_timeout
        self._loop = asyncio.get_running_loop()
        self._passages: dict[bytes, _Passage] = {}
        self._asking: Counter[ClientKey] = Counter()
        self._kept: OrderedDict[tuple[bytes, int], tuple[Chunk, bytes]] = OrderedDict()
        self._changed: dict[bytes, None] = {}
        self._due: asyncio.Handle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._ended = ""

    def __len__(self) -> int:
        """How many chunks are kept."""
        return len(self._kept)

    def metrics(self) -> dict[str, int]:
        """All counters by name."""
        return asdict(self.counters)

    # What clients say.

    def on_fetch(
        self, client: ClientKey, fetch: Fetch, send: SendFn, understood: Sequence[str] = ()
    ) -> None:
        """A client asks for chunks, or says that it has all of them; see `BlobDesk`."""
        token = fetch.token
        if self._ended:
            self._refuse(send, token, self._ended, RefusalCode.UNREACHABLE)
            return
        passage = self._passages.get(token)
        if passage is None or client not in passage.asks:
            if self._asking[client] >= ASKS_LIMIT:
                self._refuse(send, token, f"more than {ASKS_LIMIT} at a time", RefusalCode.LIMIT)
                return
            self._asking[client] += 1
        if passage is None:
            passage = self._passages[token] = _Passage()
        self._note(passage, client, fetch, send, understood)
        self._wake(token)

    def _note(
        self,
        passage: _Passage,
        client: ClientKey,
        fetch: Fetch,
        send: SendFn,
        understood: Sequence[str],
    ) -> None:
        chunks = min(fetch.chunks, WINDOW_LIMIT)
        ask = passage.asks.get(client)
        goes_on = (
            ask is not None
            and chunks > 0
            and not ask.confirms
            and fetch.offset == ask.next + ask.left * passage.chunk_size != ask.next
        )
        if ask is not None and goes_on:
            ask.left = min(ask.left + chunks, WINDOW_LIMIT)
            ask.send = send
        else:
            passage.asks[client] = _Ask(
                fetch.offset, max(chunks, 1), chunks <= 0, send, understood, self._loop.time()
            )

    def forget(self, client: ClientKey) -> None:
        """A client is gone: what it asked for is not sent."""
        if self._asking[client]:
            for token, passage in list(self._passages.items()):
                if client in passage.asks:
                    self._drop(passage, client)
                    self._wake(token)
        del self._asking[client]

    # What the node above says.

    def on_chunk(self, chunk: Chunk, data: bytes) -> None:
        """A chunk came."""
        passage = self._passages.get(chunk.token)
        run = None if passage is None else passage.run
        if passage is None or run is None or not self._advance(passage, run, chunk):
            self.counters.blob_chunks_unasked += 1
            return
        self.counters.blob_chunks_in += 1
        run.at = self._heard_at = self._loop.time()
        if chunk.size == 0:
            self._tell_end(passage, chunk, run.confirms)
        else:
            self._keep(chunk, data)
        self._wake(chunk.token)

    def _advance(self, passage: _Passage, run: _Run, chunk: Chunk) -> bool:
        """Note how far a run is with a chunk; False if that is none of it."""
        if chunk.size == 0:  # the end, whether that was asked for or not
            if chunk.offset == run.next:
                passage.run = None
            return passage.run is None
        if run.confirms or not 0 < chunk.size <= CHUNK_LIMIT or chunk.offset < run.next:
            return False
        passage.chunk_size = max(passage.chunk_size, chunk.size)
        # Those between were lost on the way; whoever wants them is served by another run.
        skipped = -(-(chunk.offset - run.next) // passage.chunk_size)
        if skipped >= run.left:
            return False
        run.next = chunk.offset + chunk.size
        run.left -= skipped + 1
        if run.left == 0 or chunk.size < passage.chunk_size:  # a smaller one is the last one
            passage.run = None
        return True

    def _keep(self, chunk: Chunk, data: bytes) -> None:
        self._kept[chunk.token, chunk.offset] = chunk, data
        # Handed on first: whoever is waiting for it will have been given it.
        self._serve(chunk.token)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def on_refused(self, refusal: Refusal) -> bool:
        """The node above refuses what was asked of it; whether it was asked from here."""
        passage = self._passages.get(refusal.token)
        if passage is None or passage.run is None:
            return False
        run, passage.run = passage.run, None
        for client, ask in list(passage.asks.items()):
            if self._is_of(ask, run):
                self._drop(passage, client)
                self.counters.blob_refusals += 1
                ask.send(refusal, ())
        self._wake(refusal.token)
        return True

    def reconnected(self) -> None:
        """A conversation with a node above begins: ask again."""
        for token, passage in self._passages.items():
            passage.run = None
            self._wake(token)

    def end(self, reason: str) -> None:
        """Nothing more will come: whoever waits is told so."""
        self._ended = reason
        for token, passage in list(self._passages.items()):
            for ask in passage.asks.values():
                self._refuse(ask.send, token, reason, RefusalCode.UNREACHABLE)
        self._passages.clear()
        self._asking.clear()
        self._kept.clear()
        for handle in (self._due, self._watch):
            if handle is not None:
                handle.cancel()
        self._due = self._watch = None

    # Once a turn of the loop: those who asked in the same one are served by the same run.

    def _wake(self, token: bytes) -> None:
        self._changed[token] = None
        if self._due is None:
            self._due = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._due = None
        changed, self._changed = self._changed, {}
        for token in changed:
            self._serve(token)
            passage = self._passages.get(token)
            if passage is None:
                continue
            self._ask_above(token, passage)
            if not passage.asks and passage.run is None:
                del self._passages[token]
        if self._watch is None and (self._kept or self._passages):
            self._watch = self._loop.call_later(self._answer_timeout, self._look)

    def _serve(self, token: bytes) -> None:
        """Hand on what is here."""
        passage = self._passages.get(token)
        for client in [] if passage is None else list(passage.asks):
            assert passage is not None
            self._give(token, passage, client)

    def _give(self, token: bytes, passage: _Passage, client: ClientKey) -> None:
        while (ask := passage.asks.get(client)) is not None and not ask.confirms:
            kept = self._kept.get((token, ask.next))
            if kept is None:
                return
            chunk, data = kept
            ask.next += chunk.size
            ask.left -= 1
            # Before it is sent: whoever gets it may ask for more at once.
            if ask.left == 0 or chunk.size < passage.chunk_size:
                self._drop(passage, client)
            if not self._hand_over(ask, chunk, data):
                if passage.asks.get(client) is ask:
                    self._drop(passage, client)  # it asks again, or notices what is missing
                return

    def _hand_over(self, ask: _Ask, chunk: Chunk, data: bytes) -> bool:
        if chunk.encoding and chunk.encoding not in ask.understood:
            try:
                data = decompress(chunk.encoding, data, chunk.size)
            except FrameInvalid as error:
                self._refuse(ask.send, chunk.token, f"at byte {chunk.offset}: {error}")
                return False
            chunk = chunk._replace(encoding="")
        if not ask.send(chunk, (data,)):
            self.counters.blob_chunks_lost += 1
            return False
        self.counters.blob_chunks_out += 1
        return True

    def _tell_end(self, passage: _Passage, chunk: Chunk, is_noted: bool) -> None:
        """There is no more; whoever confirmed that waits until the source has noted it."""
        for client, ask in list(passage.asks.items()):
            if ask.next == chunk.offset and (is_noted or not ask.confirms):
                self._drop(passage, client)
                ask.send(chunk, (b"",))

    def _ask_above(self, token: bytes, passage: _Passage) -> None:
        """Begin a run for who has waited longest, or let the one that there is grow."""
        run = passage.run
        if run is not None:
            self._extend(token, passage, run)
            return
        if not passage.asks:
            return
        client, ask = next(iter(passage.asks.items()))
        fetch = Fetch(token, ask.next, 0 if ask.confirms else ask.left)
        if self._send(fetch):  # else it is asked for when there is a connection
            self.counters.blob_fetches += 1
            now = self._heard_at = self._loop.time()
            passage.run = _Run(ask.next, ask.left, ask.confirms, now)
            passage.asks.move_to_end(client)

    def _extend(self, token: bytes, passage: _Passage, run: _Run) -> None:
        size = passage.chunk_size
        end = run.next + run.left * size
        if run.confirms or not size:
            return
        wanted = end
        for ask in passage.asks.values():
            if ask.confirms or ask.next not in range(run.next, end + 1, size):
                return  # somebody waits for another part
            wanted = max(wanted, ask.next + ask.left * size)
        more = min((wanted - end) // size, WINDOW_LIMIT - run.left)
        if more > 0 and self._send(Fetch(token, end, more)):
            self.counters.blob_fetches += 1
            run.left += more

    def _is_of(self, ask: _Ask, run: _Run) -> bool:
        return ask.confirms == run.confirms and ask.next == run.next

    def _look(self) -> None:
        """Give up runs that were not answered, and let go of chunks that nobody asks for."""
        self._watch = None
        late = self._loop.time() - self._answer_timeout
        for token, passage in list(self._passages.items()):
            run = passage.run
            if run is not None and run.at <= late:
                self.counters.blob_timeouts += 1
                passage.run = None
                for client, ask in list(passage.asks.items()):
                    if self._is_of(ask, run) and ask.at <= run.at:
                        self._drop(passage, client)  # it asks again if it is still there
                self._wake(token)
        if self._heard_at <= late:
            self._kept.clear()
        if self._kept or self._passages:
            self._watch = self._loop.call_later(self._answer_timeout, self._look)

    def _drop(self, passage: _Passage, client: ClientKey) -> None:
        del passage.asks[client]
        self._asking[client] -= 1
        if not self._asking[client]:
            del self._asking[client]

    def _refuse(
        self,
        send: SendFn,
        token: bytes,
        reason: str,
        code: RefusalCode = RefusalCode.BLOB_UNKNOWN,
    ) -> None:
        self.counters.blob_refusals += 1
        refuse(send, token, reason, code)
