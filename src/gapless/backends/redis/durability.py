"""What an acknowledgement of a Redis is worth, read from its settings (semantics 8)."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from gapless.core.errors import StoreRefused
from gapless.ports import Durability

__all__ = ["SETTINGS", "Standing", "judge"]

SETTINGS: Final = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory",
    "maxmemory-policy",
)
VERSION_MIN: Final = (7, 0)


class Standing(NamedTuple):
    """A server's class; why it is no better; whether a replica may take over that lacks something."""

    durability: Durability
    why: str
    may_fail_over: bool
    is_rewriting: bool


def judge(
    settings: Mapping[str, str],
    info: Mapping[str, str],
    *,
    may_fail_over: bool = False,
    is_cluster: bool = False,
    is_complete: bool = False,
) -> Standing:
    """Tell how a server stands. `info` are the fields of INFO.

    Its append-only file `is_complete` if it was seen before: then that it is rewritten takes nothing away.

    Raises:
        StoreRefused: it may not be used at all.
    """
    version = info.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < VERSION_MIN:
        wanted = ".".join(map(str, VERSION_MIN))
        raise StoreRefused(f"Redis {version} is too old; gapless needs {wanted} or later")
    if info.get("role") != "master":
        raise StoreRefused("this Redis is a read-only replica; name its master, or use redis+sentinel://")
    if info.get("redis_mode") == "cluster" and not is_cluster:
        raise StoreRefused("this Redis is part of a Cluster; name it by redis+cluster://")
    policy = info.get("maxmemory_policy") or settings.get("maxmemory-policy", "noeviction")
    if info.get("maxmemory", settings.get("maxmemory", "0")) != "0" and policy != "noeviction":
        raise StoreRefused(
            f"maxmemory-policy is {policy}: Redis would drop messages when it is full; set it to noeviction"
        )
    rewriting = not is_complete and "1" in (
        info.get("aof_rewrite_in_progress"),
        info.get("aof_rewrite_scheduled"),
    )
    fails_over = may_fail_over or info.get("connected_slaves", "0") != "0"
    why = _why_not_disk(settings) or _why_incomplete(info, rewriting=rewriting)
    return Standing(Durability.MEMORY if why else Durability.DISK, why, fails_over, rewriting)


def _why_not_disk(settings: Mapping[str, str]) -> str:
    if not settings:
        return "its settings cannot be read (CONFIG GET is refused)"
    for name, wanted in (
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
    ):
        if settings.get(name) != wanted:
            return f"{name} is {settings.get(name)}, not {wanted}"
    return ""


def _why_incomplete(info: Mapping[str, str], *, rewriting: bool) -> str:
    if rewriting:
        return "its append-only file is being rewritten, and until then may not be complete"
    for name in ("aof_last_bgrewrite_status", "aof_last_write_status"):
        if info.get(name) != "ok":
            return f"{name} is {info.get(name)}: its append-only file may not be complete"
    return ""
