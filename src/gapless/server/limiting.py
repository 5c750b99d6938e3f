"""How much connections, users and addresses may ask of a node: each has a share of its own."""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from enum import Enum
from itertools import islice
from typing import Final

from gapless.core.bucket import Bucket, Rate
from gapless.core.limits import FLOOD, SHARES_MAX
from gapless.ports import Clock
from gapless.server.addresses import Addresses, neighbourhood
from gapless.server.config.model import AddressRates, Limits, Rates, UserRates
from gapless.server.request import Refused

__all__ = ["RETRY", "Allowance", "Limiting", "Lockout", "Verdict"]

Headers = Iterable[tuple[bytes, bytes]]  # names in lower case

RETRY: Final = b"retry-after: 1\r\n"
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
# For each share that is new, so many of the oldest are looked at; those at rest are forgotten.
LOOKED_AT: Final = 2


class Verdict(Enum):
    """What becomes of a command."""

    PASS = "pass"
    REFUSE = "refuse"
    FLOOD = "flood"


class Share:
    """What one connection, user or address used. `holders` are the connections that use it."""

    __slots__ = ("bytes", "commands", "connects", "holders", "keys", "scope")

    def __init__(self, scope: str, rates: Rates) -> None:
        self.scope = scope
        self.holders = 0
        self.commands = _bucket(rates.commands_per_second, SECOND_MS)
        self.bytes = _bucket(rates.bytes_per_second, SECOND_MS)
        self.connects = _bucket(rates.connects_per_minute if isinstance(rates, UserRates) else 0, MINUTE_MS)
        self.keys = _bucket(rates.wrong_keys_per_minute if isinstance(rates, AddressRates) else 0, MINUTE_MS)

    def rested(self, now_ms: int) -> bool:
        """Tell whether it may be forgotten: nobody holds it, and nothing that was used counts any more."""
        buckets = (self.commands, self.bytes, self.connects, self.keys)
        return not self.holders and all(bucket is None or bucket.rested(now_ms) for bucket in buckets)


def _held(share: Share) -> Share:
    share.holders += 1
    return share


def _bucket(count: int, period_ms: int) -> Bucket | None:
    return Bucket(Rate(count, period_ms)) if count else None


class Shares:
    """The shares of all users, or all addresses. Beyond SHARES_MAX, those that come share one."""

    def __init__(self, scope: str, rates: UserRates) -> None:
        self._scope = scope
        self._rates = rates
        self._shares: OrderedDict[str, Share] = OrderedDict()  # looked at longest ago first
        self._rest = Share(scope, rates)

    def of(self, key: str, now_ms: int) -> Share:
        """Return the share of `key`."""
        share = self._shares.get(key)
        if share is None:
            self._forget_rested(now_ms)
            if len(self._shares) >= SHARES_MAX:
                return self._rest
            share = self._shares[key] = Share(self._scope, self._rates)
        return share

    def __len__(self) -> int:
        return len(self._shares)

    def _forget_rested(self, now_ms: int) -> None:
        for key in list(islice(self._shares, LOOKED_AT)):
            if self._shares[key].rested(now_ms):
                del self._shares[key]
            else:
                self._shares.move_to_end(key)


class Allowance:
    """What one connection may use: the shares of itself, its address, and its user once that is known.

    Commands that are refused cost something too: with FLOOD times as many as it may send, it is a flood.
    """

    __slots__ = ("_flood", "_refused", "shares")

    def __init__(self, shares: list[Share], flood: Bucket | None, refused: Counter[str]) -> None:
        self.shares = shares
        self._flood = flood
        self._refused = refused

    def command(self, now_ms: int) -> Verdict:
        """Take a command from each share."""
        if self._flood is None:
            return Verdict.PASS
        if not self._flood.take(now_ms):
            self._refused["flood"] += 1
            return Verdict.FLOOD
        for share in self.shares:
            if share.commands is not None and not share.commands.take(now_ms):
                self._refused[f"{share.scope}_commands"] += 1
                return Verdict.REFUSE
        return Verdict.PASS

    def bytes(self, now_ms: int, size_bytes: int) -> int:
        """Charge what came; return after how many milliseconds more is welcome."""
        waits_ms = [
            share.bytes.charge(now_ms, size_bytes) for share in self.shares if share.bytes is not None
        ]
        wait_ms = max(waits_ms, default=0)
        if wait_ms and size_bytes:
            self._refused["bytes"] += 1
        return wait_ms


class Limiting:
    """The limits of a node. `refused` counts what they kept out, by the limit."""

    def __init__(self, limits: Limits, clock: Clock, *, connects_per_second: int = 0) -> None:
        self.refused: Counter[str] = Counter()
        self._clock = clock
        self._hold_to(limits, connects_per_second)

    def replace(self, limits: Limits, *, connects_per_second: int) -> bool:
        """Hold to other limits from now on, if they are others; what was used so far is forgotten then."""
        different = (limits, connects_per_second) != (self._limits, self._connects_per_second)
        if different:
            self._hold_to(limits, connects_per_second)
        return different

    def _hold_to(self, limits: Limits, connects_per_second: int) -> None:
        self._limits, self._connects_per_second = limits, connects_per_second
        self._connects = _bucket(connects_per_second, SECOND_MS)
        self._users = Shares("user", limits.user)
        self._addresses = Shares("address", limits.address)
        self._limited = limits != Limits()
        scopes = (limits.connection, limits.user, limits.address)
        self._flood = FLOOD * min((s.commands_per_second for s in scopes if s.commands_per_second), default=0)

    # Connections --------------------------------------------------------------------------

    def admit(self, address: str) -> None:
        """Let a connection be opened from this address, or raise `Refused`."""
        if self._limited and address:  # who comes over a Unix socket has none
            self._admit_from(address)
        # Last, or who is refused anyway would use up what all have together.
        if self._connects is not None and not self._connects.take(self._clock.now_ms()):
            self.refused["connects"] += 1
            raise Refused(503, "too many connections are being opened", RETRY)

    def _admit_from(self, address: str) -> None:
        share, most = self._address(address), self._limits.address.connections
        if most and share.holders >= most:
            self.refused["address_connections"] += 1
            raise Refused(429, f"{most} connections may be open from one address", RETRY)
        if share.connects is not None and not share.connects.take(self._clock.now_ms()):
            self.refused["address_connects"] += 1
            raise Refused(429, "too many connections were opened from this address", RETRY)

    def opened(self, address: str) -> Allowance | None:
        """Return what a connection that was admitted may use; None: as much as it likes."""
        if not self._limited:
            return None
        shares = [Share("connection", self._limits.connection)]
        if address:
            shares.append(_held(self._address(address)))
        return Allowance(shares, _bucket(self._flood, SECOND_MS), self.refused)

    def connects(self, allowance: Allowance | None, user: str) -> bool:
        """Tell whether the user may open one more connection now; then it uses the user's share too."""
        if allowance is None or not user:
            return True
        share = self._users.of(user, self._clock.now_ms())
        if share.connects is not None and not share.connects.take(self._clock.now_ms()):
            self.refused["user_connects"] += 1
            return False
        allowance.shares.append(_held(share))
        return True

    def anew(self, address: str, user: str) -> Allowance | None:
        """Return what a connection that is open may use under the limits that hold now."""
        allowance = self.opened(address)
        if allowance is not None and user:
            allowance.shares.append(_held(self._users.of(user, self._clock.now_ms())))
        return allowance

    def closed(self, allowance: Allowance | None) -> None:
        """Note that a connection is over."""
        for share in allowance.shares if allowance is not None else ():
            share.holders -= 1

    def _address(self, address: str) -> Share:
        return self._addresses.of(neighbourhood(address), self._clock.now_ms())

    # Keys ---------------------------------------------------------------------------------

    @property
    def counts_keys(self) -> bool:
        """Tell whether wrong keys are counted at all."""
        return self._limits.address.wrong_keys_per_minute > 0

    def keys(self, address: str) -> Bucket | None:
        """Return what an address has left to try keys with, if that is limited."""
        return self._address(address).keys if self.counts_keys and address else None


class Lockout:
    """Looks at no request from where too many keys or tokens were wrong (401), so that none is guessed."""

    def __init__(self, limiting: Limiting, addresses: Addresses, clock: Clock) -> None:
        self._limiting = limiting
        self._addresses = addresses
        self._clock = clock

    def keeps_out(self, peer: str, headers: Headers) -> bool:
        """Tell whether a request is not to be looked at now."""
        keys = self._keys(peer, headers)
        if keys is None or not keys.empty(self._clock.now_ms()):
            return False
        self._limiting.refused["address_wrong_keys"] += 1
        return True

    def unauthorized(self, peer: str, headers: Headers) -> None:
        """Note that a request was answered with 401."""
        keys = self._keys(peer, headers)
        if keys is not None:
            keys.take(self._clock.now_ms())

    def _keys(self, peer: str, headers: Headers) -> Bucket | None:
        return self._limiting.keys(self._addresses.of(peer, headers)) if self._limiting.counts_keys else None
