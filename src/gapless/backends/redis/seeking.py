"""Finding the Redis that takes writes, and a connection to it that is ready for calls."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

import hiredis

from gapless.backends.redis import library
from gapless.backends.redis.address import Address
from gapless.backends.redis.connection import Connection, Lost
from gapless.backends.redis.durability import SETTINGS, Standing, judge
from gapless.backends.redis.errors import translated
from gapless.core.errors import ConfigError, GaplessError, StoreRefused, Unavailable
from gapless.core.limits import REDIS_CONNECT_MS
from gapless.ports import After

__all__ = ["Seeker"]

Host = tuple[str, int]


class Seeker:
    """Connects to one store's Redis, wherever it is now."""

    def __init__(self, address: Address, after: After) -> None:
        self._address = address
        self._after = after
        self._tls = _tls(address) if address.tls else None
        self._hosts = deque(address.hosts)

    async def connect(self, lost: Callable[[Connection], object]) -> tuple[Connection, Standing]:
        """Return a connection for calls, with the library loaded, and how the server stands.

        Raises:
            StoreRefused: this Redis may not be used as it is.
            Unavailable: none can be reached.
        """
        connection = await self.reach(lost)
        timer = self._after(REDIS_CONNECT_MS, connection.cut)
        try:
            standing = await self.judged(connection)
            # Only what is not there is loaded: a full server, or one without a disk, takes nothing.
            if not await connection.call("FUNCTION", "LIST", "LIBRARYNAME", library.name()):
                await connection.call(*library.load_command())
        except BaseException as error:
            connection.cut()
            if isinstance(error, hiredis.ReplyError):
                raise translated(str(error)) from error
            if isinstance(error, Lost):
                raise Unavailable(str(error)) from error
            raise
        finally:
            timer.cancel()
        return connection, standing

    async def reach(self, lost: Callable[[Connection], object]) -> Connection:
        """Return a connection to the server that takes writes, logged in.

        Raises:
            StoreRefused: it refuses the user, the password or the database.
            Unavailable: none can be reached.
        """
        found = await self._find()
        return await self._dial(found, lost, self._address.user, self._address.password, self._address.db)

    async def _find(self) -> Host:
        address = self._address
        if not address.master and not address.is_cluster:
            return address.hosts[0]
        told = "none was asked"
        for _ in list(self._hosts):
            # Whoever knows only what was before is not asked again at once.
            host = self._hosts[0]
            self._hosts.rotate(-1)
            try:
                return await self._ask(host)
            except GaplessError as error:
                told = str(error)
        raise Unavailable(f"no Redis was found that takes writes ({told})")

    async def _ask(self, host: Host) -> Host:
        """Ask a Sentinel, or one of a Cluster, who takes writes."""
        where = f"{host[0]}:{host[1]}"
        is_cluster = self._address.is_cluster
        asked = await self._dial(host, _nobody, *self._credentials())
        timer = self._after(REDIS_CONNECT_MS, asked.cut)
        try:
            found = await (self._of_cluster(asked, host) if is_cluster else self._of_sentinel(asked))
        except (hiredis.ReplyError, Lost) as error:
            raise Unavailable(f"{where}: {error}") from error
        finally:
            timer.cancel()
            asked.cut()
        if found is None:
            raise Unavailable(f"{where} knows none")
        return found

    def _credentials(self) -> tuple[str, str, int]:
        address = self._address
        if address.is_cluster:
            return address.user, address.password, 0
        return address.sentinel_user, address.sentinel_password, 0

    async def _of_sentinel(self, asked: Connection) -> Host | None:
        # https://redis.io/docs/latest/develop/reference/sentinel-clients/
        found = await asked.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.master)
        return None if found is None else (found[0].decode(), int(found[1]))

    async def _of_cluster(self, asked: Connection, host: Host) -> Host | None:
        slot = await asked.call("CLUSTER", "KEYSLOT", self._address.tag)
        found = None
        for first, last, *servers in await asked.call("CLUSTER", "SLOTS"):
            # Without a name: the one that was asked.
            named = [((server[0] or b"").decode() or host[0], server[1]) for server in servers]
            self._hosts.extend(each for each in named if each not in self._hosts)
            if first <= slot <= last:
                found = named[0]
        return found

    async def _dial(
        self, host: Host, lost: Callable[[Connection], object], user: str, password: str, db: int
    ) -> Connection:
        where = f"{host[0]}:{host[1]}"
        connection = await self._connected(host, where, lost)
        timer = self._after(REDIS_CONNECT_MS, connection.cut)
        try:
            await _log_in(connection, user, password, db)
        except BaseException as error:
            connection.cut()
            if isinstance(error, Lost):
                raise Unavailable(f"Redis at {where} does not answer as one: {error}") from None
            if isinstance(error, hiredis.ReplyError):
                told = translated(str(error))
                is_known = isinstance(told, StoreRefused | Unavailable)
                raise (told if is_known else StoreRefused(f"Redis at {where}: {error}")) from error
            raise
        finally:
            timer.cancel()
        return connection

    async def _connected(self, host: Host, where: str, lost: Callable[[Connection], object]) -> Connection:
        loop = asyncio.get_running_loop()
        dialling = loop.create_task(loop.create_connection(lambda: Connection(lost), *host, ssl=self._tls))
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            is_late = dialling.cancel()

        timer = self._after(REDIS_CONNECT_MS, give_up)
        try:
            _, connection = await dialling
        except asyncio.CancelledError:
            if not is_late:
                raise
            raise Unavailable(f"Redis at {where} does not answer") from None
        except OSError as error:
            raise Unavailable(f"Redis at {where} cannot be reached: {error.strerror or error}") from error
        finally:
            timer.cancel()
        return connection

    async def judged(self, connection: Connection, *, is_complete: bool = False) -> Standing:
        """Tell how the server at the other end stands.

        Raises:
            StoreRefused: it may not be used at all.
            hiredis.ReplyError: it does not tell.
            Lost: nor does it answer.
        """
        try:
            told = await connection.call("CONFIG", "GET", *SETTINGS)
        except hiredis.ReplyError:
            told = []
        settings = {told[i].decode(): told[i + 1].decode() for i in range(0, len(told), 2)}
        info = (await connection.call("INFO")).decode(errors="replace")
        fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        return judge(
            settings,
            fields,
            may_fail_over=self._address.may_fail_over,
            is_cluster=self._address.is_cluster,
            is_complete=is_complete,
        )


async def _log_in(connection: Connection, user: str, password: str, db: int) -> None:
    if password:
        await connection.call("AUTH", *([user] if user else []), password)
    if db:
        await connection.call("SELECT", db)
    await connection.call("PING")


def _nobody(connection: Connection) -> None:
    """Nobody minds the end of a connection that only asked where to go."""


def _tls(address: Address) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.ca or None)
        if address.cert:
            context.load_cert_chain(address.cert, address.key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS files of the Redis URL cannot be read: {error}") from error
    return context
