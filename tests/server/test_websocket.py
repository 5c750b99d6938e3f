"""One WebSocket, frame by frame: what comes back, what closes it, and what its session is told."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from gapless.protocol.websocket import binary_frame, text_frame
from gapless.server.handshake import WebSocketEndpoint
from gapless.server.socket import Handshake, Receiver, Socket
from gapless.server.websocket import WebSocket, WebSocketLimits
from tests.server.raw_socket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawSocket,
    close,
    frame,
    upgrade,
)
from tests.server.serving import Serving, on_a_loop, until

LIMITS = WebSocketLimits(message_bytes_max=1000, fragments_max=8)
EURO = "€".encode()


class Session:
    """Echoes, and remembers what it was told."""

    def __init__(self, handshake: Handshake, socket: Socket) -> None:
        self.socket = socket
        self.messages: list[bytes] = []
        self.told: list[str | tuple[int, str]] = []

    def received(self, payload: bytes, binary: bool) -> None:
        assert not self.told or isinstance(self.told[-1], str)
        self.messages.append(payload)
        if payload == b"fail":
            raise RuntimeError("a bug")
        if payload.startswith(b"close"):
            self.socket.close(3001, payload[6:].decode())
        else:
            self.socket.write((binary_frame if binary else text_frame)(payload))

    def writing_paused(self) -> None:
        self.told.append("paused")

    def writing_resumed(self) -> None:
        self.told.append("resumed")

    def closed(self, code: int, reason: str) -> None:
        self.told.append((code, reason))


class Node(Serving):
    """Makes sessions at /ws."""

    def __init__(self, limits: WebSocketLimits) -> None:
        self.sessions: list[Session] = []
        super().__init__(
            upgrades=lambda clock: {"/ws": WebSocketEndpoint(self.accept, clock, limits=limits).upgrade}
        )

    def accept(self, handshake: Handshake, socket: Socket) -> Receiver:
        session = Session(handshake, socket)
        self.sessions.append(session)
        if handshake.query == "refuse":
            socket.close(3500, "not you")
        elif handshake.query == "fail":
            raise RuntimeError("a bug")
        elif handshake.query == "greet":
            socket.write(binary_frame(bytes(1 << 24)))
        return session

    async def open(self, query: str = "") -> tuple[RawSocket, Session]:
        client = await self.connect()
        client.send(upgrade(f"/ws?{query}"))
        assert (await client.response()).status == 101
        return client, self.sessions[-1]


@asynccontextmanager
async def node(limits: WebSocketLimits = LIMITS) -> AsyncIterator[Node]:
    served = Node(limits)
    await served.front.listen("127.0.0.1", 0)
    try:
        yield served
    finally:
        await served.end()


SOUND = {
    "text": ([frame(TEXT, b"hello")], [(TEXT, b"hello")]),
    "binary": ([frame(BINARY, b"\xff\x00")], [(BINARY, b"\xff\x00")]),
    "nothing": ([frame(TEXT), frame(BINARY)], [(TEXT, b""), (BINARY, b"")]),
    "text that is not ASCII": ([frame(TEXT, EURO)], [(TEXT, EURO)]),
    "125 bytes": ([frame(TEXT, b"x" * 125)], [(TEXT, b"x" * 125)]),
    "126 bytes": ([frame(TEXT, b"x" * 126)], [(TEXT, b"x" * 126)]),
    "as much as is allowed": ([frame(TEXT, b"x" * 1000)], [(TEXT, b"x" * 1000)]),
    "several in one read": (
        [frame(TEXT, b"%d" % n) for n in range(9)],
        [(TEXT, b"%d" % n) for n in range(9)],
    ),
    "fragments": (
        [frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", fin=False), frame(CONTINUATION, b"c")],
        [(TEXT, b"abc")],
    ),
    "binary fragments": (
        [frame(BINARY, b"\xff", fin=False), frame(CONTINUATION, b"\xfe")],
        [(BINARY, b"\xff\xfe")],
    ),
    "empty fragments": (
        [frame(TEXT, fin=False), frame(CONTINUATION, fin=False), frame(CONTINUATION)],
        [(TEXT, b"")],
    ),
    "a character cut in two": (
        [frame(TEXT, EURO[:1], fin=False), frame(CONTINUATION, EURO[1:])],
        [(TEXT, EURO)],
    ),
    "as many fragments as are allowed": (
        [
            frame(TEXT, b"x", fin=False),
            *[frame(CONTINUATION, b"x", fin=False)] * 6,
            frame(CONTINUATION, b"x"),
        ],
        [(TEXT, b"x" * 8)],
    ),
    "as many bytes in fragments as are allowed": (
        [frame(TEXT, b"x" * 500, fin=False), frame(CONTINUATION, b"x" * 500)],
        [(TEXT, b"x" * 1000)],
    ),
    "one message after another in fragments": (
        [
            frame(TEXT, b"a", fin=False),
            frame(CONTINUATION, b"b"),
            frame(BINARY, b"c", fin=False),
            frame(CONTINUATION, b"d"),
            frame(TEXT, b"e"),
        ],
        [(TEXT, b"ab"), (BINARY, b"cd"), (TEXT, b"e")],
    ),
    "a ping": ([frame(PING, b"there?")], [(PONG, b"there?")]),
    "an empty ping": ([frame(PING)], [(PONG, b"")]),
    "a full ping": ([frame(PING, b"x" * 125)], [(PONG, b"x" * 125)]),
    "a ping between fragments": (
        [frame(TEXT, b"a", fin=False), frame(PING, b"?"), frame(CONTINUATION, b"b")],
        [(PONG, b"?"), (TEXT, b"ab")],
    ),
    "an uncalled-for pong": ([frame(PONG, b"!"), frame(TEXT, b"a")], [(TEXT, b"a")]),
    "a pong between fragments": (
        [frame(TEXT, b"a", fin=False), frame(PONG), frame(CONTINUATION, b"b")],
        [(TEXT, b"ab")],
    ),
}


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("frames", "expected"), SOUND.values(), ids=SOUND)
def test_what_is_sound_comes_back(
    frames: list[bytes], expected: list[tuple[int, bytes]], pieces: bool
) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            client, session = await served.open()
            for data in [bytes([byte]) for byte in b"".join(frames)] if pieces else frames:
                client.send(data)
                await asyncio.sleep(0)
            assert [await client.receive() for _ in expected] == expected
            client.send(close(1000))
            assert await client.closed() == (1000, "")
            assert await client.rest() == b""
            assert session.told == [(1000, "")]

    test()


FAULTS = {
    "the first reserved bit": (frame(TEXT, b"a", reserved=4), 1002),
    "the second reserved bit": (frame(TEXT, b"a", reserved=2), 1002),
    "the third reserved bit": (frame(TEXT, b"a", reserved=1), 1002),
    "a reserved bit in a ping": (frame(PING, b"a", reserved=1), 1002),
    "a reserved bit in a close frame": (frame(CLOSE, b"", reserved=1), 1002),
    "a reserved bit in a continuation": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", reserved=4),
        1002,
    ),
    "a reserved data opcode": (frame(0x3, b"a"), 1002),
    "a reserved control opcode": (frame(0xB, b"a"), 1002),
    "no mask": (frame(TEXT, b"a", masked=False), 1002),
    "a ping in fragments": (frame(PING, b"a", fin=False), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a close frame of 126 bytes": (frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "a close frame of one byte": (frame(CLOSE, b"x"), 1002),
    "a length that needs fewer bytes": (b"\x81\xfe\x00\x05\0\0\0\0hello", 1002),
    "a length that needs far fewer bytes": (b"\x81\xff" + bytes(7) + b"\x05\0\0\0\0hello", 1002),
    "a negative length": (b"\x81\xff\xff" + bytes(7), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"a"), 1002),
    "an unfinished continuation of nothing": (frame(CONTINUATION, b"a", fin=False), 1002),
    "a message within another": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "an unfinished message within another": (
        frame(TEXT, b"a", fin=False) + frame(BINARY, b"b", fin=False),
        1002,
    ),
    "text that is not UTF-8": (frame(TEXT, b"\xff"), 1007),
    "text with an overlong form": (frame(TEXT, b"\xc0\xaf"), 1007),
    "text with a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "text beyond Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "text that ends within a character": (frame(TEXT, EURO[:2]), 1007),
    "fragments that end within a character": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, EURO[:2]),
        1007,
    ),
    "a first fragment that is not UTF-8": (frame(TEXT, b"\xff", fin=False), 1007),
    "a later fragment that is not UTF-8": (
        frame(TEXT, EURO[:1], fin=False) + frame(CONTINUATION, b"a", fin=False),
        1007,
    ),
    "a close reason that is not UTF-8": (close(1000, b"\xff"), 1007),
    "one byte too many": (frame(TEXT, b"x" * 1001), 1009),
    "an announcement of too much": (frame(TEXT, announced=1 << 40), 1009),
    "one byte too many in fragments": (
        frame(TEXT, b"x" * 500, fin=False) + frame(CONTINUATION, b"x" * 501, fin=False),
        1009,
    ),
    "one fragment too many": (
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 8,
        1008,
    ),
    "a session with a bug": (frame(TEXT, b"fail"), 1011),
    **{
        f"close code {code}": (close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize(("data", "code"), FAULTS.values(), ids=FAULTS)
def test_a_fault_closes_with_its_code_and_the_session_is_told_once(data: bytes, code: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            client, session = await served.open()
            client.send(data)
            assert (await client.closed())[0] == code
            assert [told[0] for told in session.told] == [code]
            messages = len(session.messages)
            client.send(frame(TEXT, b"ignored"), frame(PING, b"ignored"), close(1000))
            assert await client.rest() == b""
            await asyncio.sleep(0)
            assert len(session.messages) == messages
            assert len(session.told) == 1

    test()


@on_a_loop
async def test_halves_of_frames_do_not_mix() -> None:
    async with node() as served:
        opened = [await served.open() for _ in range(20)]
        frames = [frame(TEXT, b"%d" % n * 50) for n in range(20)]
        for (client, _), data in zip(opened, frames, strict=True):
            client.send(data[:30])
        await served.settle()
        for (client, session), data in zip(reversed(opened), reversed(frames), strict=True):
            assert session.messages == []
            client.send(data[30:], frame(TEXT, b"more"))
        for n, (client, session) in enumerate(opened):
            assert await client.receive() == (TEXT, b"%d" % n * 50)
            assert await client.receive() == (TEXT, b"more")
            assert isinstance(session.socket, WebSocket)
            assert session.socket._parser is None


@on_a_loop
async def test_a_fault_or_a_close_of_one_is_nothing_to_others() -> None:
    async with node() as served:
        (client, _), (other, session), (third, _) = [await served.open() for _ in range(3)]
        client.send(frame(TEXT, b"hello") + frame(0x3))
        third.send(close(1000))
        assert (await third.closed())[0] == 1000
        for n in range(9):
            other.send(frame(TEXT, b"%d" % n))
            assert await other.receive() == (TEXT, b"%d" % n)
        assert (await client.closed())[0] == 1002
        assert session.told == []


@on_a_loop
async def test_what_is_whole_before_a_fault_is_delivered() -> None:
    async with node() as served:
        client, session = await served.open()
        client.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b"), frame(CONTINUATION, b"c"))
        assert await client.receive() == (TEXT, b"ab")
        assert (await client.closed())[0] == 1002
        assert session.messages == [b"ab"]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999])
def test_a_close_frame_is_answered_and_the_session_told(code: int) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            client, session = await served.open()
            client.send(close(code, "grüße".encode()), frame(TEXT, b"ignored"))
            assert await client.closed() == (code, "")
            assert await client.rest() == b""
            assert session.told == [(code, "grüße")]
            assert session.messages == []

    test()


@on_a_loop
async def test_a_close_frame_without_a_code_is_answered_and_told_as_1005() -> None:
    async with node() as served:
        client, session = await served.open()
        client.send(frame(CLOSE))
        assert await client.closed() == (1000, "")
        assert await client.rest() == b""
        assert session.told == [(1005, "")]


@on_a_loop
async def test_nonsense_behind_a_close_frame_changes_nothing() -> None:
    async with node() as served:
        client, session = await served.open()
        client.send(close(3333, b"bye") + close(1000) + frame(0x3, b"nonsense"))
        assert await client.closed() == (3333, "")
        assert await client.rest() == b""
        assert session.told == [(3333, "bye")]


@on_a_loop
async def test_a_message_of_64_kib_and_not_one_byte_more_passes_by_default() -> None:
    async with node(WebSocketLimits()) as served:
        client, _ = await served.open()
        client.send(frame(TEXT, b"x" * 65536))
        assert await client.receive() == (TEXT, b"x" * 65536)
        client.send(frame(TEXT, b"x" * 65537))
        assert (await client.closed())[0] == 1009


@on_a_loop
async def test_an_oversized_frame_that_arrives_all_the_same_is_not_delivered() -> None:
    async with node() as served:
        client, session = await served.open()
        for piece in (frame(TEXT, b"x" * 1001)[:8], frame(TEXT, b"x" * 1001)[8:]):
            client.send(piece)
            await served.settle()
        assert (await client.closed())[0] == 1009
        assert await client.rest() == b""
        assert session.messages == []


@on_a_loop
async def test_a_session_that_closes_waits_for_the_answer() -> None:
    async with node() as served:
        client, session = await served.open()
        client.send(frame(TEXT, b"close bye"), frame(TEXT, b"ignored"))
        assert await client.closed() == (3001, "bye")
        assert session.told == []
        client.send(frame(TEXT, b"ignored"), close(3001))
        assert await client.rest() == b""
        await until(lambda: bool(session.told))
        assert session.told == [(3001, "bye")]
        assert session.messages == [b"close bye"]


@on_a_loop
async def test_a_peer_that_does_not_answer_a_close_frame_is_cut_off() -> None:
    async with node() as served:
        client, session = await served.open()
        client.send(frame(TEXT, b"close bye"))
        assert await client.closed() == (3001, "bye")
        session.socket.close(3002, "again")
        served.clock.move(LIMITS.close_ms)
        assert await client.rest() == b""
        await until(lambda: bool(session.told))
        assert session.told == [(3001, "bye")]


@pytest.mark.parametrize("data", [frame(TEXT, b"\xff"), frame(0x3)], ids=["found here", "found by picows"])
def test_a_peer_that_takes_nothing_is_cut_off_after_its_fault(data: bytes) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            client, session = await served.open()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
            session.socket.write(binary_frame(bytes(1 << 24)))
            client.send(data)
            await until(lambda: len(session.told) == 2)
            assert isinstance(session.socket, WebSocket)
            transport = session.socket._transport
            assert session.socket.buffered_bytes() > 0
            served.clock.move(LIMITS.close_ms)
            await until(lambda: transport.get_write_buffer_size() == 0)

    test()


@on_a_loop
async def test_a_close_reason_is_cut_between_characters() -> None:
    async with node() as served:
        client, _ = await served.open()
        client.send(frame(TEXT, b"close " + EURO * 50))
        assert await client.closed() == (3001, "€" * 41)


@on_a_loop
async def test_a_lost_connection_is_told_as_1006() -> None:
    async with node() as served:
        client, session = await served.open()
        client.leave()
        await until(lambda: bool(session.told))
        assert session.told == [(1006, "")]
        session.socket.write(text_frame(b"into the void"))
        session.socket.close(3001, "too late")
        session.socket.pause_reading()
        session.socket.resume_reading()


@on_a_loop
async def test_a_session_may_close_at_once() -> None:
    async with node() as served:
        client, session = await served.open("refuse")
        assert await client.closed() == (3500, "not you")
        client.send(close(3500))
        assert await client.rest() == b""
        await until(lambda: bool(session.told))
        assert session.told == [(3500, "not you")]


@on_a_loop
async def test_a_session_that_cannot_be_made_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async with node() as served:
        client, session = await served.open("fail")
        assert (await client.closed())[0] == 1011
        client.send(frame(TEXT, b"ignored"), close(1011))
        assert await client.rest() == b""
        assert session.told == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("query", ["", "greet"])
def test_a_full_buffer_is_told_and_so_is_its_draining(query: str) -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            client, session = await served.open(query)
            if not query:
                session.socket.write(binary_frame(bytes(1 << 24)))
            assert session.told == ["paused"]
            assert session.socket.buffered_bytes() > LIMITS.high_bytes
            opcode, payload = await client.receive()
            assert (opcode, len(payload)) == (BINARY, 1 << 24)
            await until(lambda: len(session.told) == 2)
            assert session.told == ["paused", "resumed"]
            assert session.socket.buffered_bytes() <= LIMITS.high_bytes

    test()


@on_a_loop
async def test_a_peer_that_takes_nothing_gets_no_pongs() -> None:
    async with node() as served:
        client, session = await served.open()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
        session.socket.write(binary_frame(bytes(1 << 24)))
        buffered = session.socket.buffered_bytes()
        client.send(frame(PING, b"x" * 100) * 1000, frame(TEXT, b"read"))
        await until(lambda: bool(session.messages))
        assert session.socket.buffered_bytes() < buffered + 10_000


@on_a_loop
async def test_reading_can_be_paused_and_resumed() -> None:
    async with node() as served:
        client, session = await served.open()
        session.socket.pause_reading()
        client.send(frame(TEXT, b"later"))
        await served.settle()
        assert session.messages == []
        session.socket.resume_reading()
        assert await client.receive() == (TEXT, b"later")


@on_a_loop
async def test_a_paused_session_that_closes_sees_the_answer() -> None:
    async with node() as served:
        client, session = await served.open()
        session.socket.pause_reading()
        session.socket.close(3001, "bye")
        assert await client.closed() == (3001, "bye")
        client.send(close(3001))
        assert await client.rest() == b""


SCRAPS = [
    *[data for frames, _ in SOUND.values() for data in frames],
    *[data for data, _ in FAULTS.values()],
    frame(TEXT, b"close bye"),
    close(1000),
]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_a_session_is_told_of_its_end_once(seed: int) -> None:
    @on_a_loop
    async def test() -> None:
        random = Random(seed)
        async with node() as served:
            for _ in range(10):
                client, session = await served.open()
                data = b"".join(random.choices(SCRAPS, k=random.randrange(6))) + random.randbytes(3)
                cut = random.randrange(len(data))
                client.send(data[:cut])
                await asyncio.sleep(0)
                if not client.writer.is_closing():
                    client.send(data[cut:])
                await served.settle()
                served.clock.move(LIMITS.close_ms)
                client.leave()
                await until(lambda: bool(session.told))  # noqa: B023 # awaited here
                await asyncio.sleep(0)
                assert len(session.told) == 1

    test()


@on_a_loop
async def test_picows_says_what_it_has_to_say_at_debug_only(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with node() as served:
            client, _ = await served.open()
            client.send(frame(0x3))
            assert (await client.closed())[0] == 1002
            assert await client.rest() == b""
    records = [record for record in caplog.records if record.name != "asyncio"]
    assert records
    assert {record.name for record in records} == {"gapless.websocket"}
    assert {record.levelno for record in records} == {logging.DEBUG}


def test_a_websocket_that_ends_leaves_nothing_behind() -> None:
    @on_a_loop
    async def test() -> None:
        async with node() as served:
            gc.collect()
            gc.disable()
            client, session = await served.open()
            gone = weakref.ref(session.socket)
            client.leave()
            await until(lambda: bool(served.sessions[0].told))
            served.sessions.clear()
            del session
            await until(lambda: gone() is None)
            gc.enable()

    test()
