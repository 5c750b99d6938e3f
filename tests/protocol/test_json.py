"""The JSON form, byte for byte."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.core.errors import BadRequest, BinaryMessage
from gapless.core.limits import FRAME_OBJECTS_MAX
from gapless.core.stream import Message
from gapless.protocol.json import JsonCodec
from gapless.protocol.messages import (
    ClientInfo,
    Command,
    ConnectRequest,
    ConnectResult,
    Disconnect,
    Error,
    FilterNode,
    HistoryRequest,
    HistoryResult,
    Join,
    Leave,
    PingRequest,
    PingResult,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
    PublishRequest,
    PublishResult,
    Push,
    PushMessage,
    Refresh,
    RefreshRequest,
    RefreshResult,
    Reply,
    RpcRequest,
    RpcResult,
    SendRequest,
    StreamPosition,
    SubRefreshRequest,
    SubRefreshResult,
    Subscribe,
    SubscribeRequest,
    SubscribeResult,
    Unsubscribe,
    UnsubscribeRequest,
    UnsubscribeResult,
    payload,
)

JSON = JsonCodec()
DATA = payload(b'{"a":1}')

COMMANDS = [
    (b'{"id":1,"connect":{}}', Command(1, connect=ConnectRequest())),
    (
        b'{"id":1,"connect":{"token":"t","data":{"a":1},"subs":{"c":{"recover":true,"epoch":"e","offset":7}},'
        b'"name":"js","version":"5","headers":{"x":"y"}}}',
        Command(
            1,
            connect=ConnectRequest(
                token="t",
                data=DATA,
                subs={"c": SubscribeRequest(recover=True, epoch="e", offset=7)},
                name="js",
                version="5",
                headers={"x": "y"},
            ),
        ),
    ),
    (
        b'{"id":2,"subscribe":{"channel":"c","recover":true,"epoch":"e","offset":9223372036854775807,'
        b'"join_leave":true,"delta":"fossil","tf":{"op":"not","nodes":[{"key":"k","cmp":"in","vals":["v"]}]},'
        b'"flag":2}}',
        Command(
            2,
            subscribe=SubscribeRequest(
                channel="c",
                recover=True,
                epoch="e",
                offset=2**63 - 1,
                join_leave=True,
                delta="fossil",
                tf=FilterNode(op="not", nodes=[FilterNode(key="k", cmp="in", vals=["v"])]),
                flag=2,
            ),
        ),
    ),
    (
        b'{"id":2,"subscribe":{"channel":"m","type":1,"phase":2,"limit":100}}',
        Command(2, subscribe=SubscribeRequest(channel="m", type=1, phase=2, limit=100)),
    ),
    (b'{"id":3,"unsubscribe":{"channel":"c"}}', Command(3, unsubscribe=UnsubscribeRequest("c"))),
    (b'{"id":4,"publish":{"channel":"c","data":{"a":1}}}', Command(4, publish=PublishRequest("c", DATA))),
    (b'{"id":5,"presence":{"channel":"c"}}', Command(5, presence=PresenceRequest("c"))),
    (b'{"id":6,"presence_stats":{"channel":"c"}}', Command(6, presence_stats=PresenceStatsRequest("c"))),
    (
        b'{"id":7,"history":{"channel":"c","limit":-1,"since":{"offset":3,"epoch":"e"},"reverse":true}}',
        Command(7, history=HistoryRequest("c", -1, StreamPosition(3, "e"), True)),
    ),
    (b'{"id":8,"ping":{}}', Command(8, ping=PingRequest())),
    (b'{"send":{"data":{"a":1}}}', Command(send=SendRequest(DATA))),
    (b'{"id":10,"rpc":{"data":{"a":1},"method":"m"}}', Command(10, rpc=RpcRequest(DATA, "m"))),
    (b'{"id":11,"refresh":{"token":"t"}}', Command(11, refresh=RefreshRequest("t"))),
    (
        b'{"id":12,"sub_refresh":{"channel":"c","token":"t"}}',
        Command(12, sub_refresh=SubRefreshRequest("c", "t")),
    ),
    (b"{}", Command()),
]

REPLIES = [
    (b"{}", Reply()),
    (
        b'{"id":1,"error":{"code":111,"message":"too many requests","temporary":true}}',
        Reply(1, Error(111, "too many requests", True)),
    ),
    (
        b'{"id":1,"connect":{"client":"i","version":"v","expires":true,"ttl":60,"data":{"a":1},'
        b'"subs":{"c":{"recoverable":true}},"ping":25,"pong":true,"time":5}}',
        Reply(
            1,
            connect=ConnectResult(
                client="i",
                version="v",
                expires=True,
                ttl=60,
                data=DATA,
                subs={"c": SubscribeResult(recoverable=True)},
                ping=25,
                pong=True,
                time=5,
            ),
        ),
    ),
    (b'{"id":2,"subscribe":{}}', Reply(2, subscribe=SubscribeResult())),
    (b'{"id":3,"unsubscribe":{}}', Reply(3, unsubscribe=UnsubscribeResult())),
    (b'{"id":4,"publish":{}}', Reply(4, publish=PublishResult())),
    (
        b'{"id":5,"presence":{"presence":{"i":{"user":"","client":"i"}}}}',
        Reply(5, presence=PresenceResult({"i": ClientInfo(client="i")})),
    ),
    (b'{"id":5,"presence":{"presence":{}}}', Reply(5, presence=PresenceResult())),
    (
        b'{"id":6,"presence_stats":{"num_clients":0,"num_users":0}}',
        Reply(6, presence_stats=PresenceStatsResult()),
    ),
    (b'{"id":7,"history":{"publications":[],"epoch":"","offset":0}}', Reply(7, history=HistoryResult())),
    (b'{"id":8,"ping":{}}', Reply(8, ping=PingResult())),
    (b'{"id":9,"rpc":{"data":{"a":1}}}', Reply(9, rpc=RpcResult(DATA))),
    (
        b'{"id":10,"refresh":{"client":"i","version":"v","expires":true,"ttl":9}}',
        Reply(10, refresh=RefreshResult("i", "v", True, 9)),
    ),
    (b'{"id":11,"sub_refresh":{"expires":true,"ttl":9}}', Reply(11, sub_refresh=SubRefreshResult(True, 9))),
    (
        b'{"push":{"channel":"c","join":{"info":{"user":"u","client":"i","conn_info":{"a":1}}}}}',
        Reply(push=Push(channel="c", join=Join(ClientInfo("u", "i", DATA)))),
    ),
    (
        b'{"push":{"channel":"c","leave":{"info":{"user":"u","client":"i","chan_info":{"a":1}}}}}',
        Reply(push=Push(channel="c", leave=Leave(ClientInfo("u", "i", chan_info=DATA)))),
    ),
    (
        b'{"push":{"channel":"c","unsubscribe":{"code":2500,"reason":"insufficient state"}}}',
        Reply(push=Push(channel="c", unsubscribe=Unsubscribe(2500, "insufficient state"))),
    ),
    (b'{"push":{"message":{"data":{"a":1}}}}', Reply(push=Push(message=PushMessage(DATA)))),
    (
        b'{"push":{"channel":"c","subscribe":{"recoverable":true,"epoch":"e","offset":1,"positioned":true}}}',
        Reply(push=Push(channel="c", subscribe=Subscribe(True, "e", 1, True))),
    ),
    (
        b'{"push":{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}}',
        Reply(push=Push(disconnect=Disconnect(3001, "shutdown", True))),
    ),
    (b'{"push":{"refresh":{"expires":true,"ttl":60}}}', Reply(push=Push(refresh=Refresh(True, 60)))),
]

MALFORMED = [
    b"",
    b"\n",
    b" ",
    b"null",
    b"1",
    b"[]",
    b'"{}"',
    b"{",
    b"{}x",
    b"\xff",
    b"{}\n\n",
    b"\n{}",
    b"{}\n\n{}",
    b'{"id":1}\n{"id":',
    b'{"id":\n1}',
    b'{"id":-1}',
    b'{"id":4294967296}',
    b'{"id":1.5}',
    b'{"id":"1"}',
    b'{"id":' + b"9" * 5_000 + b"}",
    b'{"id":1,"subscribe":[]}',
    b'{"id":1,"subscribe":{"channel":1}}',
    b'{"id":1,"subscribe":{"channel":[null]}}',
    b'{"id":null,"subscribe":{"channel":7}}',
    b'{"id":null' + b',"tf":{"a":' * 9_000,
    b'{"id":1,"subscribe":{"channel":"\xff"}}',
    b'{"id":1,"subscribe":{"offset":-1}}',
    b'{"id":1,"subscribe":{"offset":9223372036854775808}}',
    b'{"id":1,"subscribe":{"offset":18446744073709551616}}',
    b'{"id":1,"subscribe":{"offset":1e400}}',
    b'{"id":1,"history":{"limit":2147483648}}',
    b'{"id":1,"publish":{"data":}}',
    b'{"id":1,"publish":{"data":NaN}}',
    b'{"id":1,"publish":{"data":"\xff"}}',
    b'{"id":1,"publish":{"data":"\\ud83d}}',
    b'{"id":1,"publish":{"data":"\\ud83g"}}',
    b'{"id":1,"publish":{"data":' + b"[" * 60_000,
    b'{"id":1,"unknown":' + b'{"a":' * 10_000,
    b'{"id":1,"subscribe":{"tf":' + b'{"nodes":[' * 5_000,
]


@pytest.mark.parametrize(("line", "command"), COMMANDS)
def test_a_command_has_one_form(line: bytes, command: Command) -> None:
    assert JSON.commands(line) == [command]
    assert JSON.command(command) == line


@pytest.mark.parametrize(("line", "reply"), REPLIES)
def test_a_reply_has_one_form(line: bytes, reply: Reply) -> None:
    assert JSON.replies(line) == [reply]
    assert json.loads(JSON.reply(reply)) == json.loads(line)
    assert len(JSON.reply(reply)) == len(line)


@pytest.mark.parametrize("frame", MALFORMED, ids=lambda frame: repr(frame[:40]))
def test_malformed_input_is_a_bad_request(frame: bytes) -> None:
    with pytest.raises(BadRequest):
        JSON.commands(frame)


def test_a_frame_holds_several_commands_and_perhaps_a_last_newline() -> None:
    expected = [Command(1), Command(2), Command()]
    assert JSON.commands(b'{"id":1}\n{"id":2}\n{}') == expected
    assert JSON.commands(b'{"id":1}\n{"id":2}\n{}\n') == expected
    assert JSON.commands(b'{"id":1}\n') == [Command(1)]


def test_the_commands_of_one_frame_are_bounded() -> None:
    assert len(JSON.commands(b"{}\n" * FRAME_OBJECTS_MAX)) == FRAME_OBJECTS_MAX
    with pytest.raises(BadRequest):
        JSON.commands(b"{}\n" * (FRAME_OBJECTS_MAX + 1))


def test_unknown_fields_are_passed_over() -> None:
    assert JSON.commands(b'{"id":1,"connect":{"dict":"x","new":[{}]},"newer":null}') == [
        Command(1, connect=ConnectRequest())
    ]


def test_data_is_any_json_and_stays_as_it_was_written() -> None:
    for data in (b"null", b"0", b'""', b"[]", b'{"b":1.0,  "a":"\\u00e9"}', b"1e999", '"é"'.encode()):
        [command] = JSON.commands(b'{"publish":{"data":%b }}' % data)
        assert command.publish is not None
        assert bytes(command.publish.data) == data


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\uDE00 \ud83d\ud83d\ude00"', rb'"\ufffd \ufffd\ud83d\ude00"'),
        (rb'"\\ud83d \ud83d"', rb'"\\ud83d \ufffd"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
    ],
)
def test_half_a_surrogate_pair_becomes_the_replacement_character(written: bytes, kept: bytes) -> None:
    [command] = JSON.commands(b'{"publish":{"data":%b}}' % written)
    assert command.publish is not None
    assert bytes(command.publish.data) == kept


def test_a_publication_is_spliced() -> None:
    assert JSON.publication(Message(7, 0, b'{"a":1}')) == b'{"data":{"a":1},"offset":7}'
    assert JSON.publication(Message(0, 0, b"1")) == b'{"data":1}'
    assert JSON.publication(Message(1, 0, b"1"), epoch='"') == b'{"data":1,"offset":1,"epoch":"\\""}'
    meta = b'{"info":{"user":"u","client":"i","conn_info":{"z":1}},"tags":{"k":"v"}}'
    assert JSON.publication(Message(2, 0, b"1", meta)) == (
        b'{"data":1,"info":{"user":"u","client":"i","conn_info":{"z":1}},"offset":2,"tags":{"k":"v"}}'
    )


def test_a_binary_message_cannot_be_told_in_json() -> None:
    for message in (Message(1, 0, b"\xff", b'{"binary":true}'), Message(1, 0, b"")):
        with pytest.raises(BinaryMessage):
            JSON.publication(message)


def test_no_part_holds_a_raw_newline() -> None:
    data = b'{"a":\n1}\n'
    meta = b'{"info":{"user":"","client":"","conn_info":{\n}}}'
    parts = [
        JSON.publication(Message(1, 0, data)),
        JSON.publication(Message(1, 0, data, meta), epoch="\n"),
        JSON.reply(Reply(1, rpc=RpcResult(payload(data)))),
        JSON.command(Command(send=SendRequest(payload(data)))),
        JSON.push_prefix("a\nb"),
        JSON.subscribed(1, SubscribeResult(data=payload(data)), []),
    ]
    assert not any(b"\n" in part for part in parts)


def test_a_push_is_the_prefix_and_the_publication() -> None:
    push = JSON.push(JSON.push_prefix('a"b'), JSON.publication(Message(7, 0, b"1")))
    assert push == b'{"push":{"channel":"a\\"b","pub":{"data":1,"offset":7}}}'


def test_publications_are_spliced_into_a_subscribe_reply() -> None:
    publications = [JSON.publication(Message(n, 0, b"1")) for n in (1, 2)]
    assert JSON.subscribed(3, SubscribeResult(), []) == b'{"id":3,"subscribe":{}}'
    assert JSON.subscribed(3, SubscribeResult(), publications) == (
        b'{"id":3,"subscribe":{"publications":[{"data":1,"offset":1},{"data":1,"offset":2}]}}'
    )
    assert JSON.subscribed(3, SubscribeResult(epoch="}}", data=payload(b"{}")), publications[:1]) == (
        b'{"id":3,"subscribe":{"epoch":"}}","data":{},"publications":[{"data":1,"offset":1}]}}'
    )


def test_subscriptions_are_spliced_into_a_connect_reply() -> None:
    subs = {
        'a"b': (SubscribeResult(), [b'{"data":1,"offset":1}']),
        "c": (SubscribeResult(epoch="}}", offset=7), []),
    }
    assert JSON.connected(3, ConnectResult(client="x"), subs) == (
        b'{"id":3,"connect":{"client":"x","subs":{"a\\"b":{"publications":[{"data":1,"offset":1}]},'
        b'"c":{"epoch":"}}","offset":7}}}}'
    )


@pytest.mark.parametrize(
    ("with_nulls", "without"),
    [
        (b'{"id":null,"send":{"data":{"a":null}}}', b'{"send":{"data":{"a":null}}}'),
        (b'{"id":1,"connect":{"token": null ,"data":null}}', b'{"id":1,"connect":{}}'),
        (
            b'{"id":1,"connect":{"subs":{"a":{"offset":null,"epoch":"e"},"b":null}}}',
            b'{"id":1,"connect":{"subs":{"a":{"epoch":"e"}}}}',
        ),
        (b'{"id":1,"publish":{"channel":null,"data":"\\ud800"}}', b'{"id":1,"publish":{"data":"\\ufffd"}}'),
        (
            b'{"id":1,"history":{"channel":"a","since":{"offset":1,"epoch":null}}}',
            b'{"id":1,"history":{"channel":"a","since":{"offset":1}}}',
        ),
    ],
)
def test_null_is_no_value(with_nulls: bytes, without: bytes) -> None:
    assert JSON.commands(with_nulls) == JSON.commands(without)


def test_publications_are_spliced_into_a_history_reply() -> None:
    assert JSON.history(3, HistoryResult(epoch="[]", offset=9), [b'{"data":1,"offset":1}']) == (
        b'{"id":3,"history":{"publications":[{"data":1,"offset":1}],"epoch":"[]","offset":9}}'
    )
    assert JSON.history(3, HistoryResult(), []) == JSON.reply(Reply(3, history=HistoryResult()))


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5))
def test_a_push_prefix_holds_any_channel_name(channels: list[str]) -> None:
    pushes = [JSON.push(JSON.push_prefix(channel), b'{"data":1}') for channel in channels]
    replies = JSON.replies(JSON.pack(pushes))
    assert [reply.push.channel for reply in replies if reply.push] == channels
