"""New namespaces for channels that are followed already: they hold at once, and end what they forbid."""

from collections.abc import Callable, Iterable

from gapless.broker.broker import Broker
from gapless.broker.channel import Channel, Subscription
from gapless.broker.namespaces import Namespaces, Rules
from gapless.core.errors import GaplessError
from gapless.protocol.codes import Unsubscribe

__all__ = ["end", "govern"]


def govern(broker: Broker, namespaces: Namespaces, may_stay: Callable[[Subscription], bool]) -> int:
    """Put `namespaces` in the place of the old ones; return how many subscriptions that ended for good.

    Whoever may not stay is unsubscribed (2000). Where history begins or ends, positions mean something else:
    subscribers are told 2500 in paced turns, and subscribe again.
    """
    broker.namespaces = namespaces
    ended: list[Subscription] = []
    for channel in broker.hub.channels.values():
        rules = _rules(namespaces, channel.name)
        if rules is None:
            ended += channel.subscriptions
        else:
            _change(broker, channel, rules)
            ended += [subscription for subscription in channel.subscriptions if not may_stay(subscription)]
    end(ended)
    return len(ended)


def _rules(namespaces: Namespaces, channel: str) -> Rules | None:
    try:
        return namespaces.of(channel)
    except GaplessError:
        return None


def end(subscriptions: Iterable[Subscription]) -> None:
    """Unsubscribe for good (2000): there is nothing to follow any more, or not for them."""
    for subscription in subscriptions:
        if subscription.reader.subscriptions.get(subscription.channel.name) is subscription:
            subscription.reader.unsubscribed(subscription, Unsubscribe.SERVER)


def _change(broker: Broker, channel: Channel, rules: Rules) -> None:
    before, after = channel.rules.namespace, rules.namespace
    if before == after:
        channel.rules = rules
        return
    broker.hub.flush(channel)
    channel.rules = rules
    if before.history != after.history:
        broker.placing.lose(channel.subscriptions)
        broker.hub.forget_tails(channel)
        channel.stand("", 0)
    elif before.history_size != after.history_size:
        broker.hub.forget_tails(channel)
