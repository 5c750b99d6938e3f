"""Web pages that ship with gapless: a fixed set of files, each with all that its answers need.

Paths are looked up, never opened: what is not in the set does not exist.
"""

import asyncio
import gzip
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["SECURITY", "Pages", "shipped"]

INDEX: Final = "index.html"
SHARED: Final = ("vendor", "shared")  # folders that all pages load from, each below its own path
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
NOTHING: Final = re.compile(r"q=0(\.0*)?")
PLAIN: Final = "text/plain; charset=utf-8"
PACKED: Final = (".png", ".woff2")  # compressed as they are
SECURITY: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What browsers are told with every answer below the path of such pages."""


class File(NamedTuple):
    """A file as it is answered; `packed` is it in gzip, empty where that is not shorter."""

    media_type: str
    body: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, path: str, body: bytes) -> "File":
        """Return a file with the type that its name tells."""
        suffix = PurePosixPath(path).suffix
        packed = b"" if suffix in PACKED else gzip.compress(body, mtime=0)
        tag = sha256(body).hexdigest()[:32]
        return cls(TYPES.get(suffix, PLAIN), body, packed if len(packed) < len(body) else b"", tag)


def shipped(folder: str) -> dict[str, bytes]:
    """Return the files of a folder of `gapless/web` by their paths, and those that all pages load."""
    web = files("gapless") / "web"
    found = dict(_walk(web / folder, ""))
    for name in SHARED:
        found.update(_walk(web / name, f"{name}/"))
    return found


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
        else:
            yield f"{path}{entry.name}", entry.read_bytes()


class Pages:
    """The pages of `folder`, or of `contents` by their paths; read when first asked for."""

    def __init__(self, folder: str, contents: Mapping[str, bytes] | None = None) -> None:
        self._folder = folder
        self._contents = contents
        self._reading: asyncio.Task[dict[str, File]] | None = None

    def routes(self, prefix: str) -> list[Route]:
        """Return what answers at `prefix` and below it, behind whatever else is routed there."""

        async def index(request: Request) -> Response:
            """Send on to the folder, by a path that holds behind any proxy."""
            query = f"?{request.url.query}" if request.url.query else ""
            return _answered(307, {"location": f"{prefix.rpartition('/')[2]}/{query}"})

        async def page(request: Request) -> Response:
            return await self._answer(request)

        return [Route(prefix, index), Route(f"{prefix}/{{path:path}}", page)]

    async def _answer(self, request: Request) -> Response:
        known = await self._files()
        file = known.get(request.path_params["path"] or INDEX)
        if file is None:
            return _answered(404, {"content-type": PLAIN}, b"Not Found")
        packs = bool(file.packed) and _takes_gzip(request.headers.get("accept-encoding", ""))
        tag = f'"{file.tag}-gzip"' if packs else f'"{file.tag}"'
        fields = {"cache-control": "no-cache", "etag": tag, "vary": "accept-encoding"}
        if _has(request.headers.get("if-none-match", ""), tag):
            return _answered(304, fields)
        fields |= {"content-type": file.media_type} | ({"content-encoding": "gzip"} if packs else {})
        return _answered(200, fields, file.packed if packs else file.body)

    async def _files(self) -> dict[str, File]:
        """Return all of them; who asks while they are read waits for the same reading."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(asyncio.to_thread(self._read))
        return await asyncio.shield(self._reading)

    def _read(self) -> dict[str, File]:
        contents = shipped(self._folder) if self._contents is None else self._contents
        return {path: File.of(path, body) for path, body in contents.items()}


def _answered(status: int, fields: Mapping[str, str], body: bytes = b"") -> Response:
    return Response(body, status, {**SECURITY, **fields})


def _takes_gzip(accepted: str) -> bool:
    """Read Accept-Encoding (RFC 9110, 12.5.3): named, or as any, and not with a weight of nothing."""
    weights: dict[str, bool] = {}
    for part in accepted.lower().replace(" ", "").split(","):
        coding, _, weight = part.partition(";")
        weights[coding] = not NOTHING.fullmatch(weight)
    return weights.get("gzip", weights.get("*", False))


def _has(tags: str, tag: str) -> bool:
    """Tell whether If-None-Match names a tag; it is compared weakly (RFC 9110, 13.1.2)."""
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in tags.split(","))
