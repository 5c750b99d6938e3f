"""The AsyncAPI document of declared functions."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import jsonschema
import pydantic
import pytest
from msgspec import Meta, Struct

from gapless import Gapless, Router
from tests.conftest import NODE_PACKAGES


class Address(Struct):
    """Where a mail goes."""

    name: Annotated[str, Meta(pattern="@")]


class Mail(Struct):
    to: Address
    copies: tuple[int, str] = (1, "")


class Item(pydantic.BaseModel):
    name: str


class Order(pydantic.BaseModel):
    items: list[Item]


class Said(TypedDict):
    text: str


@dataclass
class Picture:
    url: str


def declared() -> Gapless:
    gl, router = Gapless("memory:"), Router()

    @gl.queue("mail")
    async def send(mail: Mail) -> None:
        """Send a mail.

        By way of the post office.
        """

    @gl.stream("orders", group="billing", partitions=4)
    async def bill(order: Order) -> None: ...

    @gl.stream("orders", group="to ship")
    async def ship(order: dict[str, Any]) -> None: ...

    @gl.stream("chat:", group="moderation")
    async def moderate(said: Said | None) -> None: ...

    @router.queue("pictures")
    def shrink(picture: Picture) -> None: ...

    @router.queue("raw")
    def keep(data: bytes) -> None: ...

    @gl.cron("0 3 * * *")
    async def clean() -> None: ...

    gl.include(router)
    return gl


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    """AsyncAPI's own schema of such documents."""
    schema = NODE_PACKAGES / "@asyncapi/specs/schemas/3.0.0.json"
    if not schema.is_file():
        pytest.skip("no schema of AsyncAPI: `make test` installs it")
    return jsonschema.Draft7Validator(json.loads(schema.read_text()))


def test_the_document_is_valid(validator: jsonschema.Draft7Validator) -> None:
    document = json.loads(json.dumps(declared().asyncapi("shop", "1.2.3")))
    assert not [error.message for error in validator.iter_errors(document)]
    document["operations"]["queue.mail"]["action"] = "eat"
    assert [*validator.iter_errors(document)], "a schema that refuses nothing"


def test_each_function_is_an_operation_and_each_place_a_channel() -> None:
    document = declared().asyncapi("shop")
    assert document["info"] == {"title": "shop", "version": "0.0.0"}
    assert sorted(document["channels"]) == [
        "queue.clean", "queue.mail", "queue.pictures", "queue.raw", "stream.chat_x3a", "stream.orders",
    ]  # fmt: skip
    assert len(document["operations"]) == 7
    orders = document["channels"]["stream.orders"]
    assert (orders["address"], orders["x-gapless-partitions"]) == ("orders", 4)
    assert sorted(orders["messages"]) == ["stream.orders.billing", "stream.orders.to_x20ship"]


def test_what_a_function_says_of_itself_is_told() -> None:
    operations = declared().asyncapi("shop")["operations"]
    mail = operations["queue.mail"]
    assert (mail["action"], mail["summary"]) == ("receive", "Send a mail.")
    assert mail["description"] == "By way of the post office."
    assert operations["stream.orders.billing"]["x-gapless-group"] == "billing"
    assert operations["queue.clean"]["x-gapless-schedule"] == "0 3 * * *"


def test_payloads_are_told_by_their_types() -> None:
    components = declared().asyncapi("shop")["components"]
    schemas, messages = components["schemas"], components["messages"]
    assert messages["queue.mail"]["payload"] == {"$ref": "#/components/schemas/Mail"}
    assert schemas["Address"]["properties"]["name"] == {"type": "string", "pattern": "@"}
    assert messages["stream.orders.billing"]["payload"]["properties"]["items"]["items"] == {
        "$ref": "#/components/schemas/Item"
    }
    assert schemas["Picture"]["properties"] == {"url": {"type": "string"}}
    assert messages["queue.raw"]["contentType"] == "application/octet-stream"
    assert messages["queue.clean"]["payload"] == {"type": "null"}
