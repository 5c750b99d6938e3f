"""What is stored beside a message's data."""

from gapless.core.stream import Message
from gapless.protocol.json import JsonCodec
from gapless.protocol.messages import ClientInfo, payload
from gapless.protocol.meta import Meta, with_tag


def test_nothing_to_say_is_nothing_stored() -> None:
    assert Meta().encoded() == b""


def test_meta_reads_on_the_wire_as_it_was_stored() -> None:
    meta = Meta(ClientInfo("u", "i", payload(b"1")), {"k": "v"}).encoded()
    assert JsonCodec().publication(Message(1, 0, b"2", meta)) == (
        b'{"data":2,"info":{"user":"u","client":"i","conn_info":1},"offset":1,"tags":{"k":"v"}}'
    )


def test_a_tag_is_added_and_leaves_the_rest() -> None:
    assert with_tag(b"", "n", "2") == b'{"tags":{"n":"2"}}'
    stored = b'{"info":{"user":"u","client":"i"},"tags":{"k":"v"},"binary":true}'
    assert with_tag(stored, "n", "2") == (
        b'{"info":{"user":"u","client":"i"},"tags":{"k":"v","n":"2"},"binary":true}'
    )
