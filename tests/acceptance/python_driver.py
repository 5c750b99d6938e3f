"""Drives stock Python clients: orders come in and events go out as lines of JSON (driver.py)."""

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from centrifuge import (  # type: ignore[import-untyped] # it has no types
    CentrifugeError,
    Client,
    ClientEventHandler,
    Publication,
    StreamPosition,
    SubscriptionEventHandler,
)
from centrifuge.types import ClientInfo  # type: ignore[import-untyped]

Order = dict[str, Any]


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def giver(tokens: list[str] | None, tell: Callable[[], None]) -> Callable[..., Awaitable[str]] | None:
    """Make what an SDK calls for a new token: takes the next of `tokens`, and says so."""

    async def give(*_: str) -> str:
        assert tokens is not None
        tell()
        return tokens.pop(0)

    return None if tokens is None else give


class ClientEvents(ClientEventHandler):  # type: ignore[misc]
    def __init__(self, client: "Driven", name: str) -> None:
        self._client = client
        self._name = name

    def tell(self, event: str, **fields: Any) -> None:
        say({"client": self._name, "event": event, **fields})

    async def on_connecting(self, ctx: Any) -> None:
        self.tell("connecting", code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx: Any) -> None:
        self.tell("connected", id=ctx.client)

    async def on_disconnected(self, ctx: Any) -> None:
        self.tell("disconnected", code=ctx.code, reason=ctx.reason)

    async def on_error(self, ctx: Any) -> None:
        self.tell("error", code=ctx.code, message=str(ctx.error))

    async def on_subscribed(self, ctx: Any) -> None:
        self.tell("server_subscribed", channel=ctx.channel, **self._client.standing(ctx))

    async def on_unsubscribed(self, ctx: Any) -> None:
        self.tell("server_unsubscribed", channel=ctx.channel)

    async def on_publication(self, ctx: Any) -> None:
        self.tell("server_publication", channel=ctx.channel, **self._client.publication(ctx.pub))

    async def on_join(self, ctx: Any) -> None:
        self.tell("server_join", channel=ctx.channel, info=self._client.info(ctx.info))

    async def on_leave(self, ctx: Any) -> None:
        self.tell("server_leave", channel=ctx.channel, info=self._client.info(ctx.info))


class SubscriptionEvents(SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self, client: "Driven", channel: str) -> None:
        self._client = client
        self._channel = channel

    def tell(self, event: str, **fields: Any) -> None:
        self._client.events.tell(event, channel=self._channel, **fields)

    async def on_subscribing(self, ctx: Any) -> None:
        self.tell("subscribing", code=ctx.code, reason=ctx.reason)

    async def on_subscribed(self, ctx: Any) -> None:
        self.tell("subscribed", **self._client.standing(ctx))

    async def on_unsubscribed(self, ctx: Any) -> None:
        self.tell("unsubscribed", code=ctx.code, reason=ctx.reason)

    async def on_publication(self, ctx: Any) -> None:
        self.tell("publication", **self._client.publication(ctx.pub))

    async def on_join(self, ctx: Any) -> None:
        self.tell("join", info=self._client.info(ctx.info))

    async def on_leave(self, ctx: Any) -> None:
        self.tell("leave", info=self._client.info(ctx.info))

    async def on_error(self, ctx: Any) -> None:
        self.tell("refused", code=ctx.code, message=str(ctx.error))


class Driven:
    """One client, and how its payloads are written."""

    def __init__(self, order: Order) -> None:
        self.binary = order["binary"]
        self.events = ClientEvents(self, order["client"])
        options = order.get("options", {})
        get_token = giver(options.pop("tokens", None), lambda: self.events.tell("asked"))
        self.client = Client(
            order["url"],
            self.events,
            token=order["token"],
            get_token=get_token,
            use_protobuf=self.binary,
            proxy=None,
            **options,
        )

    def encode(self, data: Any) -> Any:
        return json.dumps(data).encode() if self.binary else data

    def decode(self, data: Any) -> Any:
        if not self.binary:
            return data
        try:
            return json.loads(data)
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(data).decode()}

    def info(self, told: ClientInfo) -> dict[str, Any]:
        conn_info, chan_info = self._seen(told.conn_info), self._seen(told.chan_info)
        return {"user": told.user, "client": told.client, "conn_info": conn_info, "chan_info": chan_info}

    def standing(self, ctx: Any) -> dict[str, Any]:
        position = ctx.stream_position
        return {
            "recoverable": ctx.recoverable,
            "positioned": ctx.positioned,
            "position": position and {"offset": position.offset, "epoch": position.epoch},
            "was_recovering": ctx.was_recovering,
            "recovered": ctx.recovered,
            "data": self._seen(ctx.data),
        }

    def _seen(self, data: Any) -> Any:
        return None if data is None or data == b"" else self.decode(data)

    def publication(self, pub: Publication) -> dict[str, Any]:
        by = pub.info and self.info(pub.info)
        return {"offset": pub.offset, "data": self.decode(pub.data), "tags": pub.tags, "info": by}


driven: dict[str, Driven] = {}


async def open_client(order: Order) -> None:
    driven[order["client"]] = Driven(order)
    await connect(order)


async def connect(order: Order) -> None:
    await driven[order["client"]].client.connect()


async def disconnect(order: Order) -> None:
    await driven[order["client"]].client.disconnect()


async def subscribe(order: Order) -> None:
    here = driven[order["client"]]
    options = order.get("options", {})
    positions = options.pop("get_state", None)
    tell = SubscriptionEvents(here, order["channel"]).tell
    get_token = giver(options.pop("tokens", None), lambda: tell("asked"))

    async def get_state(channel: str) -> StreamPosition:
        return StreamPosition(**positions.pop(0))

    subscription = here.client.new_subscription(
        order["channel"],
        SubscriptionEvents(here, order["channel"]),
        get_state=get_state if positions else None,
        get_token=get_token,
        **options,
    )
    await subscription.subscribe()


def subscription_of(order: Order) -> Any:
    return driven[order["client"]].client.get_subscription(order["channel"])


async def unsubscribe(order: Order) -> None:
    await subscription_of(order).unsubscribe()


async def resubscribe(order: Order) -> None:
    await subscription_of(order).subscribe()


async def publish(order: Order) -> None:
    here = driven[order["client"]]
    await here.client.publish(order["channel"], here.encode(order["data"]))


async def history(order: Order) -> dict[str, Any]:
    here = driven[order["client"]]
    options = order["options"]
    since = StreamPosition(**options["since"]) if "since" in options else None
    told = await here.client.history(
        order["channel"], limit=options["limit"], since=since, reverse=options.get("reverse", False)
    )
    publications = [here.publication(pub) for pub in told.publications]
    return {"publications": publications, "offset": told.offset, "epoch": told.epoch}


async def presence(order: Order) -> dict[str, Any]:
    here = driven[order["client"]]
    told = await here.client.presence(order["channel"])
    return {id: here.info(client) for id, client in told.clients.items()}


async def presence_stats(order: Order) -> dict[str, int]:
    told = await driven[order["client"]].client.presence_stats(order["channel"])
    return {"num_clients": told.num_clients, "num_users": told.num_users}


async def rpc(order: Order) -> Any:
    here = driven[order["client"]]
    return here.decode((await here.client.rpc(order["method"], here.encode(order["data"]))).data)


ORDERS: dict[str, Callable[[Order], Awaitable[Any]]] = {
    "open": open_client,
    "connect": connect,
    "disconnect": disconnect,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "resubscribe": resubscribe,
    "publish": publish,
    "history": history,
    "presence": presence,
    "presence_stats": presence_stats,
    "rpc": rpc,
}


async def carry_out(order: Order) -> None:
    try:
        say({"id": order["id"], "result": await ORDERS[order["order"]](order)})
    except CentrifugeError as error:
        code = getattr(error, "code", 0)
        say({"id": order["id"], "error": {"code": code, "message": str(error)}})


async def main() -> None:
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    under_way = set()
    while line := await orders.readline():
        task = loop.create_task(carry_out(json.loads(line)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


if __name__ == "__main__":
    asyncio.run(main())
