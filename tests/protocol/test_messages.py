"""The objects themselves."""

from gapless.protocol.messages import NO_PAYLOAD, Command, PingRequest, PublishRequest, SendRequest, payload


def test_a_command_has_one_request_or_is_a_pong() -> None:
    assert Command().request() is None
    assert Command(1, ping=PingRequest()).request() == PingRequest()
    both = Command(1, publish=PublishRequest("c"), send=SendRequest())
    assert both.request() == PublishRequest("c")


def test_no_data_is_no_payload() -> None:
    assert payload(b"") is NO_PAYLOAD
    assert bytes(payload(b"1")) == b"1"
    assert len(NO_PAYLOAD) == 0
