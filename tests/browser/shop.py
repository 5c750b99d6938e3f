"""The workers of a shop, `gapless worker tests.browser.shop:gl`: some work, some fail, some do not end."""

import asyncio
import os
from typing import Any

from gapless import Backoff, Gapless, Message

gl = Gapless(os.environ["SHOP_URL"], api_key="key")

TWICE = Backoff(2, base="1ms", cap="1ms")
TEMPLATES = {"welcome": "Welcome, {name}!", "receipt": "Thank you for order {order}."}
REFUSING = "mail.example.org"
STANDS_AT = (
    40  # messages of a partition that the slow group has read before it reaches one that takes for ever
)


@gl.queue("mail", retry=TWICE)
async def send_mail(mail: dict[str, Any]) -> None:
    """Send what can be sent."""
    text = rendered(mail["template"], mail)
    deliver(mail["to"], text)


def rendered(template: str, values: dict[str, Any]) -> str:
    """Return the text of a mail."""
    return TEMPLATES[template].format(**values)


def deliver(to: str, text: str) -> None:
    """Hand a mail to the server of its domain."""
    _, at, domain = to.partition("@")
    if not at:
        raise ValueError(f"{to!r} is no address: it has no @")
    if domain == REFUSING:
        raise ConnectionRefusedError(
            111, f"{domain}:25 refused the connection, with {len(text)} bytes to send"
        )


@gl.queue("thumbnails", lease="10m", in_flight=4)
async def shrink(image: dict[str, Any]) -> None:
    """Work on an image for as long as anybody looks."""
    del image
    await asyncio.Event().wait()


@gl.stream("orders", group="billing", start="earliest", partitions=4, keyed=True)
async def bill(order: dict[str, Any]) -> None:
    """Keep up."""
    del order


@gl.stream("orders", group="shipping", start="earliest")
async def ship(order: dict[str, Any], message: Message) -> None:
    """Fall behind."""
    del order
    if message.offset > STANDS_AT:
        await asyncio.Event().wait()
