"""What `gapless doctor` looks at: each examination takes facts and returns findings, and touches nothing."""

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from typing import Final, NamedTuple

from msgspec import Struct

from gapless.ports import Durability
from gapless.server.config import Config
from gapless.server.signing import has_key

__all__ = [
    "Finding", "Machine", "StoreFacts", "Weight", "clock_findings", "configuration_findings", "good",
    "machine_findings", "store_findings",
]  # fmt: skip

SECRET_BYTES_MIN: Final = 32  # as long as the hash (RFC 7518, 3.2)
KEY_CHARACTERS_MIN: Final = 16
CONNECTIONS_EXPECTED: Final = 10_000
OPEN_FILES_BESIDES: Final = 64
BACKLOG: Final = 4_096
LOCAL_PORTS_MIN: Final = 25_000
FREE_BYTES_FEW: Final = 1024 * 1024 * 1024
FSYNC_US_MIN: Final = 15  # no disk that survives a loss of power is faster
FSYNC_US_MAX: Final = 10_000
AHEAD_MS_MAX: Final = 60_000
YEAR_2025_MS: Final = 1_735_689_600_000


class Weight(StrEnum):
    """How much a finding matters: `mend` makes the command fail."""

    GOOD = "good"
    NOTE = "note"
    MEND = "mend"


class Finding(Struct, frozen=True):
    """What was found, and what to do about it if anything."""

    weight: Weight
    about: str
    found: str
    advice: str = ""


class StoreFacts(NamedTuple):
    """What is known of the store. `fsync_us` is the median of a few; 0: not measured.

    With less than `needed_bytes` of `free_bytes` it would refuse publications.
    """

    durability: Durability | None
    told_by: str = ""
    file_system: str = ""
    free_bytes: int | None = None
    needed_bytes: int = 0
    fsync_us: int = 0
    trouble: str = ""


class Machine(NamedTuple):
    """What the machine allows. None: it does not say."""

    open_files_max: int | None
    open_files_soft: int | None
    backlog_max: int | None
    local_ports: int | None


def good(about: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(Weight.GOOD, about, found)


def note(about: str, found: str, advice: str) -> Finding:
    """Return what somebody should know."""
    return Finding(Weight.NOTE, about, found, advice)


def mend(about: str, found: str, advice: str) -> Finding:
    """Return what must not stay so."""
    return Finding(Weight.MEND, about, found, advice)


# Configuration --------------------------------------------------------------------------------


def configuration_findings(config: Config) -> list[Finding]:
    """Look for what is legal in a configuration, and unwise."""
    found = [*_open_doors(config), *_credentials(config), *_reach(config)]
    return found or [good("configuration", "nothing unwise")]


def _is_public(config: Config) -> bool:
    address = config.http_server.address
    try:
        return not address or not ip_address(address).is_loopback
    except ValueError:
        return address != "localhost"


def _open_doors(config: Config) -> Iterator[Finding]:
    weigh = mend if _is_public(config) else note
    if config.client.insecure:
        advice = "set it to false, or listen on 127.0.0.1 only"
        yield weigh("client.insecure", "everybody may read and publish everything", advice)
    if config.http_api.insecure and not config.http_api.disabled:
        yield weigh("http_api.insecure", "the server API asks for no key", "set http_api.key instead")
    if config.prometheus.enabled and not config.prometheus.key and _is_public(config):
        advice = "set prometheus.key, or keep the path from outside"
        yield note("prometheus", "everybody who reaches the port can read the metrics", advice)


def _credentials(config: Config) -> Iterator[Finding]:
    api, client = config.http_api, config.client
    if not api.key and not api.insecure and not api.disabled:
        yield note(
            "http_api.key", "no key is set: the server API refuses everybody", "set one, or disable it"
        )
    if 0 < len(api.key) < KEY_CHARACTERS_MIN:
        advice = f"take {KEY_CHARACTERS_MIN} random characters or more"
        yield mend("http_api.key", f"it has only {len(api.key)} characters", advice)
    for section, token in (("token", client.token), ("subscription_token", client.subscription_token)):
        size = len(token.hmac_secret_key.encode())
        if 0 < size < SECRET_BYTES_MIN:
            advice = f"take {SECRET_BYTES_MIN} random bytes or more: a shorter one can be guessed offline"
            yield mend(f"client.{section}.hmac_secret_key", f"it has only {size} bytes", advice)
    anonymous = client.insecure or client.allow_anonymous_connect_without_token
    if not has_key(client.token) and not anonymous:
        yield mend("client.token", "no key is set: nobody can connect", "set the key that signs your tokens")


def _reach(config: Config) -> Iterator[Finding]:
    if _is_public(config) and not config.http_server.tls.enabled:
        advice = "set http_server.tls, unless a proxy in front of it speaks TLS"
        yield note("http_server.tls", "the port is public, and not encrypted", advice)
    if "*" in config.client.allowed_origins:
        advice = "list the origins of your own pages"
        yield note("client.allowed_origins", "pages of every website may connect", advice)


# Store ----------------------------------------------------------------------------------------


def store_findings(facts: StoreFacts, minimum: Durability) -> Iterator[Finding]:
    """Judge the store: its class, its disk, its room."""
    if facts.trouble:
        yield mend("store", facts.trouble, "see what it says; a running server is asked with http_api.key")
    if facts.durability is not None:
        yield _durability(facts.durability, facts.told_by, minimum)
    if facts.file_system:
        yield good("file system", facts.file_system)
    if facts.fsync_us:
        yield _fsync(facts.fsync_us)
    if facts.free_bytes is not None:
        yield _room(facts.free_bytes, facts.needed_bytes)


def _durability(durability: Durability, told_by: str, minimum: Durability) -> Finding:
    classes = list(Durability)
    if classes.index(durability) < classes.index(minimum):
        advice = "put the file on a local disk, or lower store.durability if that will do"
        return mend("durability", f"{durability.value}, where {minimum.value} is asked for", advice)
    if durability is Durability.MEMORY:
        return note("durability", "memory: nothing outlives the process", "set store.url to sqlite:<file>")
    return good("durability", f"{durability.value} ({told_by})")


def _fsync(fsync_us: int) -> Finding:
    found = f"{fsync_us} µs, so {1_000_000 // fsync_us:,} in a second"
    if fsync_us < FSYNC_US_MIN:
        advice = "no disk is that fast: a cache answers for it, and a loss of power loses messages"
        return mend("fsync", found, advice)
    if fsync_us > FSYNC_US_MAX:
        return note("fsync", found, "publishers wait that long for their acknowledgement; take a faster disk")
    return good("fsync", found)


def _room(free_bytes: int, needed_bytes: int) -> Finding:
    found = f"{free_bytes >> 20:,} MiB"
    if free_bytes < needed_bytes:
        advice = (
            f"free {(needed_bytes - free_bytes) >> 20:,} MiB or more: publications are refused until then"
        )
        return mend("free room", found, advice)
    if free_bytes < FREE_BYTES_FEW:
        return note("free room", found, "watch it: publications are refused when the disk is full")
    return good("free room", found)


# Machine --------------------------------------------------------------------------------------


def machine_findings(machine: Machine, connection_limit: int) -> Iterator[Finding]:
    """Hold what the machine allows against so many connections (0: as many as are common)."""
    expected = connection_limit or CONNECTIONS_EXPECTED
    if machine.open_files_max is not None:
        yield _open_files(machine.open_files_soft or 0, machine.open_files_max, expected)
    if machine.backlog_max is not None:
        if machine.backlog_max < BACKLOG:
            advice = f"sysctl -w net.core.somaxconn={BACKLOG}: who comes back together waits in this queue"
            yield note("net.core.somaxconn", str(machine.backlog_max), advice)
        else:
            yield good("net.core.somaxconn", str(machine.backlog_max))
    if machine.local_ports is not None and machine.local_ports < max(LOCAL_PORTS_MIN, expected):
        advice = "a proxy on this machine opens at most so many: widen net.ipv4.ip_local_port_range"
        yield note("local ports", str(machine.local_ports), advice)


def _open_files(soft: int, most: int, expected: int) -> Finding:
    found = f"{most:,} may be open ({soft:,} at first; the server raises that by itself)"
    if most < expected + OPEN_FILES_BESIDES:
        advice = f"raise it for {expected:,} connections: ulimit -Hn, or LimitNOFILE= of the systemd unit"
        return mend("open files", found, advice)
    return good("open files", found)


def clock_findings(now_ms: int, stored_ms: int | None, is_synchronised: bool | None) -> Iterator[Finding]:
    """Judge the clock by what the store was last written at, and by what the kernel says."""
    if now_ms < YEAR_2025_MS or (stored_ms is not None and stored_ms > now_ms + AHEAD_MS_MAX):
        advice = "set it: tokens expire by it, and stored times never fall"
        yield mend("clock", "it is behind what was stored", advice)
    elif is_synchronised is False:
        yield note("clock", "nothing keeps it in time", "start chrony, ntpd or systemd-timesyncd")
    else:
        yield good("clock", "in time" if is_synchronised else "plausible")
