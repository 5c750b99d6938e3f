"""Where Redis is: the URL of a store, taken apart."""

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from gapless.core.errors import ConfigError
from gapless.core.masking import masked_url

__all__ = ["Address"]

PORTS: Final = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379, "redis+cluster": 6379}
SHAPES: Final = (
    "redis://[user:password@]host[:port][/db], rediss://…, redis+sentinel://host:port,host:port/master[/db]"
    " or redis+cluster://host:port,host:port; each may end with ?prefix=name"
)
OPTIONS: Final = {"prefix", "tls", "ca", "cert", "key", "sentinel_user", "sentinel_password"}
PREFIX: Final = "gapless"
PREFIX_BYTES_MAX: Final = 64


class Address(Struct, frozen=True, kw_only=True):
    """One Redis: a server, or the names by which it is found.

    `prefix` begins all keys. With `master`, `hosts` are Sentinels; with `is_cluster`, some of its nodes.
    `ca`, `cert` and `key` are files for TLS.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = ""
    db: int = 0
    prefix: str = PREFIX
    master: str = ""
    is_cluster: bool = False
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    sentinel_user: str = ""
    sentinel_password: str = ""

    @classmethod
    def read(cls, url: str) -> "Address":
        """Take a URL apart.

        Raises:
            ConfigError: it names no Redis, or an option that there is not.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in PORTS or not rest:
            raise ConfigError(f"{masked_url(url)!r} names no Redis; write {SHAPES}")
        parts = urlsplit("//" + rest)
        user, _, where = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := options.keys() - OPTIONS:
            raise ConfigError(
                f"{min(unknown)!r} is no option of such a URL; there are {', '.join(sorted(OPTIONS))}"
            )
        path = [unquote(part) for part in parts.path.split("/") if part]
        master = path.pop(0) if scheme == "redis+sentinel" and path else ""
        if scheme == "redis+sentinel" and not master:
            raise ConfigError("redis+sentinel:// names the master after the Sentinels: …/mymaster")
        prefix = options.get("prefix", PREFIX)
        if not 0 < len(prefix.encode()) <= PREFIX_BYTES_MAX or set(prefix) & set("{}"):
            raise ConfigError(f"a prefix has 1 to {PREFIX_BYTES_MAX} bytes without braces, not {prefix!r}")
        return cls(
            hosts=tuple(_host(one, PORTS[scheme]) for one in where.split(",")),
            user=unquote(name),
            password=unquote(password),
            db=_db(path, is_cluster=scheme == "redis+cluster"),
            prefix=prefix,
            master=master,
            is_cluster=scheme == "redis+cluster",
            tls=scheme == "rediss" or _is_on("tls", options.get("tls", "false")),
            ca=options.get("ca", ""),
            cert=options.get("cert", ""),
            key=options.get("key", ""),
            sentinel_user=options.get("sentinel_user", ""),
            sentinel_password=options.get("sentinel_password", ""),
        )

    @property
    def may_fail_over(self) -> bool:
        """Tell whether another server may take over, which may lack what this one acknowledged."""
        return bool(self.master) or self.is_cluster

    @property
    def tag(self) -> str:
        """What every key begins with: a hash tag, so that all lie in one slot."""
        return "{" + self.prefix + "}"


def _is_on(name: str, told: str) -> bool:
    """Return what an option says; a slip must not mean that a password travels in the clear."""
    if told.lower() not in ("true", "false", "yes", "no", "1", "0"):
        raise ConfigError(f"{name} is true or false, not {told!r}")
    return told.lower() in ("true", "yes", "1")


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit("//" + text)
    try:
        return parts.hostname or "127.0.0.1", port if parts.port is None else parts.port
    except ValueError:
        raise ConfigError(f"{text!r} is no host with a port") from None


def _db(path: list[str], *, is_cluster: bool) -> int:
    if not path:
        return 0
    if len(path) > 1 or not path[0].isascii() or not path[0].isdigit():
        raise ConfigError(f"{'/'.join(path)!r} is no number of a database")
    if is_cluster and path[0] != "0":
        raise ConfigError("a Redis Cluster has database 0 only")
    return int(path[0])
