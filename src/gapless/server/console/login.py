"""Where people come in to the console: by a password, by the API's key, or freely if it is insecure."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gapless.broker.audit import record
from gapless.broker.broker import Broker
from gapless.broker.streams.keeping import record_now
from gapless.core.bucket import Bucket, Rate
from gapless.core.errors import BadRequest, GaplessError, PermissionDenied, TooManyRequests, Unauthorized
from gapless.core.limits import (
    CONSOLE_LOGIN_BYTES_MAX,
    CONSOLE_LOGINS_WAITING_MAX,
    CONSOLE_WRONG_RECORDED_PER_HOUR,
)
from gapless.ports import Clock
from gapless.server.addresses import Addresses, neighbourhood
from gapless.server.api.calls import refusal_body
from gapless.server.config import Config
from gapless.server.config.model import ConsoleUser, Role
from gapless.server.console.files import SECURITY
from gapless.server.console.passes import How, Pass, Passes
from gapless.server.console.passwords import Cost, Hash, hash_of, same
from gapless.server.console.throttle import Throttle
from gapless.server.origin import Origins, is_local

__all__ = ["LoggedIn", "Login", "Users"]

PAGES: Final = Origins()  # a page of another origin has no business here
FIELDS: Final = {**SECURITY, "cache-control": "no-store"}
HOUR_MS: Final = 3600 * 1000
NO_SALT: Final = bytes(16)
BEARER: Final = "bearer "

log: Final = logging.getLogger("gapless.console")


class Said(Struct, forbid_unknown_fields=True):
    """What somebody shows to be let in."""

    name: str = ""
    password: str = ""
    key: str = ""

    @property
    def how(self) -> How:
        """Return which of the ways in that is."""
        if self.key:
            return How.KEY
        return How.PASSWORD if self.name or self.password else How.NOTHING


class WrongLogin(Struct, frozen=True):
    """Told to all nodes, as wrong ones count together: somebody from there was wrong here."""

    neighbourhood: str


class LoggedIn(Struct):
    """The answer."""

    token: str
    name: str
    role: Role
    expires_ms: int


class Users:
    """Tells whether a password is right. For an unknown name that takes as long as for a known one."""

    def __init__(self, users: Iterable[ConsoleUser]) -> None:
        self._plain: dict[str, str] = {}
        self._hashed: dict[str, Hash] = {}
        for user in users:
            hashed = Hash.read(user.password)
            if hashed is None:
                self._plain[user.name] = user.password
            else:
                self._hashed[user.name] = hashed
        self._costs: list[Cost] = sorted({known.cost for known in self._hashed.values()})

    def __contains__(self, name: str) -> bool:
        return name in self._plain or name in self._hashed

    async def right(self, name: str, password: str) -> bool:
        """Tell whether that is the password of `name`; hashes are found beside the loop."""
        right = same(password, self._plain.get(name, "")) and name in self._plain
        if self._costs:
            right |= await asyncio.to_thread(self._right_hash, name, password)
        return right

    def _right_hash(self, name: str, password: str) -> bool:
        known, right = self._hashed.get(name), False
        for cost in self._costs:
            salt = known.salt if known is not None and known.cost == cost else NO_SALT
            found = hash_of(password, salt, cost)
            right = right or (known is not None and same(str(found), str(known)))
        return right


class Login:
    """The way in. Wrong ones are throttled, and one is judged at a time: each takes memory."""

    def __init__(
        self, config: Config, passes: Passes, clock: Clock, addresses: Addresses, broker: Broker
    ) -> None:
        self._passes = passes
        self._clock = clock
        self._addresses = addresses
        self._broker = broker
        self._throttle = Throttle()
        self._recorded = Bucket(Rate(CONSOLE_WRONG_RECORDED_PER_HOUR, HOUR_MS))
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._local = False
        broker.telling.hear(WrongLogin, self._wrong_elsewhere)
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Let in from now on whom this configuration does."""
        self._users = Users(config.console.users)
        self._api_key = config.http_api.key
        self._insecure = config.console.insecure

    def routes(self, prefix: str, *, local: bool = False) -> list[Route]:
        """Return what is answered; if `local`, only to pages that no name of the internet leads to."""
        self._local = local
        return [
            Route(f"{prefix}/login", self._login, methods=["POST"]),
            Route(f"{prefix}/renew", self._renew, methods=["POST"]),
        ]

    def free(self, request: Request) -> LoggedIn | None:
        """Return a session, if nobody has to log in."""
        if not self._insecure or self._is_led_here(request.headers.get("host", "")):
            return None
        return _logged_in(*self._freely())

    async def _login(self, request: Request) -> Response:
        try:
            self._check_page(request)
            said = await _said(request)
            if said.how is How.NOTHING:
                return _let_in(*self._freely())
            peer = request.client.host if request.client is not None else ""
            address = self._addresses.of(peer, request.headers.raw)
            return await self._judged(said, address)
        except ClientDisconnect:
            return Response(status_code=400)
        except GaplessError as error:
            return _refused(error)

    def _check_page(self, request: Request) -> None:
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        if origin is not None and not PAGES.allow(origin, host):
            raise PermissionDenied("a web page of another origin may not log in")
        if origin is not None and self._is_led_here(host):
            raise PermissionDenied(f"open it at localhost or an IP address: {host} may be anybody's")

    def _is_led_here(self, host: str) -> bool:
        return self._local and not is_local(host)

    def _freely(self) -> tuple[str, Pass]:
        if not self._insecure:
            raise Unauthorized("log in with a name and password, or with the key of the API")
        return self._passes.issue(How.NOTHING)

    async def _judged(self, said: Said, address: str) -> Response:
        """Hear somebody in turn; from a throttled address nobody is."""
        if self._waiting >= CONSOLE_LOGINS_WAITING_MAX:
            return _throttled(1_000)
        self._waiting += 1
        try:
            async with self._turn:
                where = neighbourhood(address)
                wait_ms = self._throttle.wait_ms(where, self._clock.now_ms())
                if wait_ms:
                    return _throttled(wait_ms)
                let_in = await self._heard(said)
                if let_in is None:
                    self._throttle.wrong(where, self._clock.now_ms())
                    self._broker.telling.tell(WrongLogin(where))
        finally:
            self._waiting -= 1
        await self._record(said, address, let_in)
        if let_in is None:
            what = "name or password" if said.how is How.PASSWORD else "key"
            raise Unauthorized(f"the {what} is wrong")
        return _let_in(*let_in)

    def _wrong_elsewhere(self, node: str, wrong: WrongLogin) -> None:
        self._throttle.wrong(wrong.neighbourhood, self._clock.now_ms())

    async def _heard(self, said: Said) -> tuple[str, Pass] | None:
        if said.how is How.KEY:
            right = bool(self._api_key) and same(said.key, self._api_key)
            return self._passes.issue(How.KEY) if right else None
        users = self._users
        if await users.right(said.name, said.password) and self._users is users:
            return self._passes.issue(How.PASSWORD, said.name)
        return None

    async def _record(self, said: Said, address: str, let_in: tuple[str, Pass] | None) -> None:
        """Record who came, from where. What a stranger calls itself may be a password: it is left out."""
        known = said.name if said.name in self._users else ""
        log.info("login %s", "refused" if let_in is None else "accepted", extra={"address": address})
        if let_in is not None:
            entry = record("login", let_in[1].who, let_in[1].name, address=address, how=said.how.value)
        elif self._recorded.take(self._clock.now_ms()):
            entry = record("login_refused", "console", known, address=address, how=said.how.value)
        else:
            return
        await record_now(self._broker, entry)

    async def _renew(self, request: Request) -> Response:
        """Give a new token for one that holds."""
        try:
            authorization = request.headers.get("authorization", "")
            if authorization[: len(BEARER)].lower() != BEARER:
                raise Unauthorized("a session is renewed with its token (Authorization: Bearer …)")
            held = self._passes.read(authorization[len(BEARER) :].strip())
            return _let_in(*self._passes.issue(held.how, held.name))
        except GaplessError as error:
            return _refused(error)


async def _said(request: Request) -> Said:
    body = await request.body()
    if len(body) > CONSOLE_LOGIN_BYTES_MAX:
        raise BadRequest(f"to log in takes up to {CONSOLE_LOGIN_BYTES_MAX} bytes")
    try:
        return _decode(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest('write {"name": …, "password": …}, or {"key": …}') from error


_decode: Final = msgspec.json.Decoder(Said).decode


def _logged_in(token: str, held: Pass) -> LoggedIn:
    return LoggedIn(token, held.name, held.role, held.expires_ms)


def _let_in(token: str, held: Pass) -> Response:
    return Response(msgspec.json.encode(_logged_in(token, held)), 200, FIELDS, "application/json")


def _refused(error: GaplessError) -> Response:
    return Response(refusal_body(error), error.http_status, FIELDS, "application/json")


def _throttled(wait_ms: int) -> Response:
    seconds = -(-wait_ms // 1000)
    error = TooManyRequests(f"too many wrong passwords or keys: try again in {seconds} s")
    fields = {**FIELDS, "retry-after": str(seconds)}
    return Response(refusal_body(error), 429, fields, "application/json")
