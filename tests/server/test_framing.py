"""Parsers that many share: whose bytes come in which pieces, and in which order, changes nothing."""

import asyncio
import gc
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from picows import WSFrame

from gapless.server.framing import Parser, Parsers
from tests.server.raw_socket import BINARY, TEXT, close, frame
from tests.server.serving import on_a_loop


class Peer:
    """One connection's bytes, and what a parser made of them."""

    def __init__(self, parsers: Parsers, sent: bytes = b"") -> None:
        self.parsers = parsers
        self.sent = sent
        self.parser: Parser | None = None
        self.frames: list[bytes] = []
        self.faults: list[int] = []
        self.ended = False

    def read(self, nbytes: int) -> None:
        while nbytes and self.sent:
            parser = self.parser or self.parsers.shared
            buffer = parser.get_buffer(-1)
            piece = self.sent[: min(nbytes, len(buffer))]
            self.sent = self.sent[len(piece) :]
            nbytes -= len(piece)
            buffer[: len(piece)] = piece
            rests = parser.parse(len(piece), self)
            if rests and not self.faults:
                parser.taker = None
                if self.parser is not None:
                    self.parser = None
                    self.parsers.give_back(parser)
            elif self.parser is None:
                assert self.parsers.keep() is parser
                self.parser = parser

    def take_frame(self, frame: WSFrame) -> None:
        self.frames.append(frame.get_payload_as_bytes())

    def gave_up(self, parser: Parser, code: int, reason: str) -> None:
        self.faults.append(code)

    def end(self) -> None:
        self.ended = True


PAYLOADS = st.lists(st.binary(max_size=20) | st.integers(100, 9_000).map(bytes), max_size=6)
TURNS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5_000)), max_size=60)


@settings(deadline=None)
@given(st.lists(PAYLOADS, min_size=4, max_size=4), TURNS)
def test_the_frames_of_many_are_kept_apart(payloads: list[list[bytes]], turns: list[tuple[int, int]]) -> None:
    @on_a_loop
    async def test() -> None:
        parsers = Parsers(10_000)
        peers = [Peer(parsers, b"".join(frame(BINARY, each) for each in sent)) for sent in payloads]
        for index, nbytes in turns:
            peers[index].read(nbytes)
        for peer in peers:
            peer.read(1 << 20)
        assert [peer.frames for peer in peers] == payloads
        assert [peer.parser for peer in peers] == [None] * 4

    test()


@on_a_loop
async def test_one_parser_is_enough_for_those_between_two_frames() -> None:
    parsers = Parsers(10_000)
    shared = parsers.shared
    for size_bytes in (1, 5_000, 10):
        for _ in range(50):
            Peer(parsers, frame(TEXT, bytes(size_bytes))).read(1)
            peer = Peer(parsers, frame(TEXT, bytes(size_bytes)))
            peer.read(size_bytes * 2 + 100)
            assert len(peer.frames) == 1
    assert shared is not parsers.shared


@on_a_loop
async def test_parsers_that_rest_are_used_again_but_not_hoarded() -> None:
    parsers = Parsers(10_000)
    peers = [Peer(parsers, frame(TEXT, b"x" * 100)) for _ in range(40)]
    for peer in peers:
        peer.read(50)
    kept = {id(peer.parser) for peer in peers}
    assert len(kept) == 40
    for peer in peers:
        peer.read(100)
    assert [peer.parser for peer in peers] == [None] * 40
    again = [Peer(parsers, frame(TEXT, b"x")) for _ in range(17)]
    for peer in again:
        peer.read(1)
    assert sum(id(peer.parser) in kept for peer in again) == 16


@on_a_loop
async def test_one_that_gave_up_tells_its_own_and_serves_nobody_else() -> None:
    parsers = Parsers(100)
    peer, other = Peer(parsers, frame(TEXT, b"a") + frame(TEXT, announced=101)), Peer(parsers)
    peer.read(100)
    assert peer.faults == [1009]
    other.sent = frame(TEXT, b"b")
    other.read(100)
    assert other.frames == [b"b"]
    while not peer.ended:  # noqa: ASYNC110 # a timer of picows'
        await asyncio.sleep(0)
    assert not other.ended


@on_a_loop
async def test_a_close_frame_is_known_though_nonsense_behind_it_kept_it_back() -> None:
    parsers = Parsers(100)
    peer = Peer(parsers, close(3333, b"bye") + frame(0x3))
    peer.read(100)
    assert peer.faults == [1002]
    assert peer.parser is not None
    assert peer.parser.closing() == (3333, "bye")


@on_a_loop
async def test_a_parser_that_is_let_go_is_gone() -> None:
    parsers = Parsers(100)
    peer = Peer(parsers, frame(TEXT, b"x"))
    peer.read(1)
    gc.collect()
    gc.disable()
    assert peer.parser is not None
    gone = weakref.ref(peer.parser)
    peer.parser.let_go()
    peer.parser = None
    assert gone() is None
    gc.enable()
