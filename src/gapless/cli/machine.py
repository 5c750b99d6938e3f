"""What the machine allows this process."""

import gc
import logging
import resource
from typing import Final

from gapless.core.errors import ConfigError

__all__ = ["raise_open_files_limit", "spare_the_collector"]

WANTED: Final = 1_048_576
FEW: Final = 4_096
LEAST: Final = 64
COLLECTOR_THRESHOLDS: Final = (100_000, 50, 100)

log: Final = logging.getLogger("gapless.machine")


def raise_open_files_limit() -> None:
    """Raise the limit of open files as far as this process may, and warn if that is not far.

    Raises:
        ConfigError: it is not enough to run at all.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise ConfigError(f"only {soft} files may be open, and {LEAST} are needed; raise it with ulimit -n")
    if soft != resource.RLIM_INFINITY and soft < FEW:
        log.warning("only %d files may be open, one for each connection; raise it with ulimit -n", soft)


def spare_the_collector() -> None:
    """Have cyclic garbage looked for rarely: a server's objects live long, with few cycles.

    Measured: a quarter of the time of an API batch, a tenth of a reconnect storm's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
