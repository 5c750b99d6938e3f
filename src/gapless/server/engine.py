"""What a node serves, and what a program has in its own process: a store, and the use cases over it."""

from collections.abc import Callable
from typing import cast

from gapless import backends
from gapless.broker.broker import Broker
from gapless.broker.emitting import Emitting
from gapless.broker.queues import Queueing
from gapless.broker.rights import Access
from gapless.broker.streams import Streaming
from gapless.broker.verbs import Verbs
from gapless.core.errors import StoreError, StoreRefused
from gapless.core.limits import MESSAGE_BYTES_MAX
from gapless.core.masking import masked_url
from gapless.ports import Clock, Durability, Queues, Store, Streams
from gapless.server.config import Config
from gapless.server.listening import listen_of

__all__ = ["message_bytes_max", "open_store", "verbs_over"]


def message_bytes_max(config: Config) -> int:
    """Return how large a message may be."""
    return max(MESSAGE_BYTES_MAX, config.websocket.message_size_limit)


async def open_store(
    config: Config, failed: Callable[[StoreError], None], now_ms: Callable[[], int] | None = None
) -> Streams:
    """Open the store that is configured; `failed` hears that it had to close.

    `now_ms` is the store's clock (None: its own).

    Raises:
        ConfigError: there is no such kind of store; or other machines cannot join as configured.
        StoreRefused: the store may not be opened as it is, or is less durable than was asked for.
    """
    options = config.store
    opened = backends.Options(
        now_ms=now_ms,
        failed=failed,
        message_bytes_max=message_bytes_max(config),
        key_window_ms=options.idempotency_window_ms,
        durability_min=options.minimum,
        listen=listen_of(options, (now_ms or backends.store_clock())()),
    )
    store = await backends.open(options.url, opened)
    classes = list(Durability)
    if classes.index(store.durability) < classes.index(options.minimum):
        await store.close()
        raise StoreRefused(
            f"store.durability: {options.minimum.value!r} is asked for, but {masked_url(options.url)}"
            f" gives only {store.durability.value!r}: use another store or place, or ask for less"
        )
    return store


def verbs_over(store: Streams, clock: Clock, broker: Broker, config: Config) -> Verbs | None:
    """Return the verbs of queues and streams, where the store has them."""
    if not isinstance(store, Queues):
        return None
    whole, emitting = cast("Store", store), Emitting(broker)
    queueing = Queueing(whole, clock, emitting, config.queues)
    streaming = Streaming(
        whole, clock, broker, emitting, config.streams, message_bytes_max=message_bytes_max(config)
    )
    return Verbs(queueing, streaming, Access(config.queues, config.streams))
