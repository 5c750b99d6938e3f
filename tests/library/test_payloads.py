"""Payloads by their annotation."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import pydantic
import pytest
from msgspec import Struct
from pydantic.dataclasses import dataclass as pydantic_dataclass

from gapless.core.errors import BadRequest
from gapless.library.payloads import Shape, Undecodable, encode


class Mail(Struct):
    to: str
    copies: "list[Mail]" = []


@dataclass
class Order:
    id: int
    mail: Mail | None = None


class Point(TypedDict):
    x: int


class Pair(NamedTuple):
    a: int
    b: str


class Model(pydantic.BaseModel):
    n: int


@pydantic_dataclass
class Checked:
    n: int


class Opaque:
    """Of this no JSON can be made."""


@dataclass
class Holder:
    what: Opaque


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Mail, Mail("a", [Mail("b")])),
        (Order, Order(1, Mail("a"))),
        (Point, {"x": 1}),
        (Pair, Pair(1, "b")),
        (Model, Model(n=1)),
        (list[Model], [Model(n=1), Model(n=2)]),
        (Checked, Checked(n=3)),
        (Mail | None, None),
        (dict[str, Mail], {"k": Mail("a")}),
        (bytes, b"\x00\xff"),
        (str, "text"),
        (dict, {"any": [1, 2.5, None]}),
        (Any, [1, {"two": 3}]),
    ],
)
def test_a_value_comes_back_as_its_type(annotation: Any, value: object) -> None:
    shape = Shape(annotation)
    shape.encode(value)
    encoded = encode(value)
    assert encoded.binary is (annotation is bytes)
    assert shape.decode(encoded.data) == value


@pytest.mark.parametrize("annotation", [Opaque, Holder, list[Opaque], dict[str, Holder], Opaque | None])
def test_a_type_without_json_is_refused_at_once(annotation: Any) -> None:
    with pytest.raises(TypeError, match="Opaque"):
        Shape(annotation)


@pytest.mark.parametrize(
    ("annotation", "data", "where"),
    [
        (Mail, b"{}", "to"),
        (Model, b'{"n":"x"}', "n"),
        (Point, b'{"x":"1"}', "x"),
        (int, b"\xff", "int"),
        (str, b"", "str"),
        (Any, b"[" * 100_000, "Any"),
    ],
)
def test_what_is_not_of_the_type_says_where_it_is_not(annotation: Any, data: bytes, where: str) -> None:
    with pytest.raises(Undecodable, match=where):
        Shape(annotation).decode(data)


@pytest.mark.parametrize(
    ("annotation", "value"), [(Mail, {"to": "a"}), (Model, Mail("a")), (Order, 1), (bytes, "text")]
)
def test_a_record_of_another_class_is_refused_before_it_is_sent(annotation: Any, value: object) -> None:
    with pytest.raises(BadRequest, match="has to be"):
        Shape(annotation).encode(value)


def test_what_has_no_json_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="Opaque"):
        encode({"a": Opaque()})


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        (Order, Order(id="x"), r"Order: Expected `int`, got `str` - at `\$.id`"),  # type: ignore[arg-type]
        (Mail, Mail("a", [Mail(5)]), r"at `\$.copies\[0\].to`"),  # type: ignore[arg-type]
        (int, "x", "no int"),
        (Point, {"x": "1"}, r"at `\$.x`"),
    ],
)
def test_a_payload_that_its_handler_could_not_read_is_not_sent(annotation: Any, value: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        Shape(annotation).encode(value)


@dataclass
class Measured:
    degrees: float
    note: str | None = None


@pytest.mark.parametrize(
    "value", [float("nan"), {"a": [1, float("inf")]}, (float("-inf"),), Measured(float("nan"))]
)
def test_a_number_that_json_does_not_have_is_refused_and_not_sent_as_null(value: Any) -> None:
    with pytest.raises(BadRequest, match=r"(nan|inf) is no number in JSON"):
        encode(value)


def test_null_is_sent_where_it_is_meant() -> None:
    assert encode([None, "null", Measured(1.5)]).data == b'[null,"null",{"degrees":1.5,"note":null}]'
