"""A server that speaks RESP and is no Redis: it answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import hiredis

__all__ = ["FakeRedis", "bulk", "faking"]

Answer = Callable[[list[bytes]], bytes | None]


def bulk(text: str) -> bytes:
    """Return a bulk string."""
    return b"$%d\r\n%b\r\n" % (len(text.encode()), text.encode())


class FakeRedis:
    """Answers each command with what `answer` returns for it, or never (None). `heard` has the commands."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.heard: list[list[bytes]] = []
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        """Where it is, as a store's URL."""
        return f"redis://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client."""
        self._writers.append(writer)
        parser = hiredis.Reader()
        while data := await reader.read(65_536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                self.heard.append(command)
                answer = self.answer(command)
                if answer is not None:
                    writer.write(answer)

    def close(self) -> None:
        """Hang up on everybody."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def faking(answer: Answer) -> AsyncIterator[FakeRedis]:
    """Serve on a free port."""
    fake = FakeRedis(answer)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        fake.close()
        server.close()
        await server.wait_closed()
