"""Which path means which channel, and which aliases are refused at the start."""

import pytest

from gapless.broker.namespaces import Namespace, Namespaces
from gapless.core.errors import BadRequest, ConfigError
from gapless.server.messages.paths import Paths

NAMESPACES = Namespaces(named=(Namespace(name="chat"), Namespace(name="team")))
ROOMS = {
    "/api/chat-rooms/{id}/messages": "chat:{id}",
    "/teams/{team}/rooms/{room}": "team:{team}/{room}",
    "/lobby": "chat:lobby",
}


def paths(aliases: dict[str, str]) -> Paths:
    return Paths("/api", aliases, NAMESPACES, ["/api/{method}", "/health", "/connection/websocket"])


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/api/channels/chat:1/messages", "chat:1"),
        ("/api/channels/chat%3A1/messages", "chat:1"),
        ("/api/channels/a%2Fb/messages", "a/b"),
        ("/api/channels/%E2%82%AC/messages", "€"),
        ("/api/channels/$chat:1%23anna,bea/messages", "$chat:1#anna,bea"),
        ("/api/chat-rooms/42/messages", "chat:42"),
        ("/api/chat-rooms/4%32/messages", "chat:42"),
        ("/teams/red/rooms/1", "team:red/1"),
        ("/lobby", "chat:lobby"),
    ],
)
def test_a_path_means_one_channel(path: str, channel: str) -> None:
    found = paths(ROOMS)
    assert found.pattern.fullmatch(path.encode())
    assert found.channel(path.encode()) == channel


@pytest.mark.parametrize(
    "path",
    [
        "/api/channels//messages", "/api/channels/a/b/messages", "/api/channels/a/messages/",
        "/api/channels/a", "/api/publish", "/api/chat-rooms//messages", "/lobby/", "/teams/a/rooms/b/c", "/",
        "/API/channels/a/messages",
    ],
)  # fmt: skip
def test_another_path_means_none(path: str) -> None:
    assert not paths(ROOMS).pattern.fullmatch(path.encode())


@pytest.mark.parametrize(
    "id", ["team%3A1", "1%23anna", "1#anna", "a,b", "$1", "%241", "team:1", "%ff", "a%00%ff"]
)
def test_a_path_smuggles_nothing_into_the_name_of_a_channel(id: str) -> None:
    with pytest.raises(BadRequest):
        paths(ROOMS).channel(f"/api/chat-rooms/{id}/messages".encode())


def test_what_is_encoded_twice_is_decoded_once() -> None:
    assert paths(ROOMS).channel(b"/api/chat-rooms/1%2523anna/messages") == "chat:1%23anna"


@pytest.mark.parametrize(
    ("path", "channel", "told"),
    [
        ("rooms/{id}", "chat:{id}", "a path is"),
        ("/", "chat:1", "a path is"),
        ("/rooms/{id}/", "chat:{id}", "a path is"),
        ("/rooms//{id}", "chat:{id}", "a path is"),
        ("/rooms/{id", "chat:{id}", "a path is"),
        ("/rooms/r{id}", "chat:{id}", "a path is"),
        ("/rooms/{1}", "chat:{1}", "a path is"),
        ("/rooms/a b", "chat:1", "a path is"),
        ("/rooms/%41", "chat:1", "a path is"),
        ("/rooms/a?b", "chat:1", "a path is"),
        ("/rooms/{id}", "chat:{room}", "same placeholders"),
        ("/rooms/{id}", "chat:1", "same placeholders"),
        ("/rooms", "chat:{id}", "same placeholders"),
        ("/rooms/{id}/{id}", "chat:{id}", "same placeholders"),
        ("/rooms/{id}", "chat:{id}-{id}", "same placeholders"),
        ("/rooms/{a}/{b}", "chat:{a}{b}", "apart"),
        ("/rooms/{id}", "chat:{{id}}", "apart"),
        ("/rooms", "", "no channel"),
        ("/rooms/{id}", "chats:{id}", "no namespace 'chats'"),
        ("/api/publish", "chat:1", "taken"),
        ("/{a}/{b}", "chat:{a}/{b}", "taken"),
        ("/health", "chat:1", "taken"),
        ("/connection/{id}", "chat:{id}", "taken"),
        ("/api/channels/{id}/messages", "chat:{id}", "taken"),
        ("/api/channels/1/{id}", "chat:{id}", "taken"),
        ("/lobby", "chat:other", "taken"),
    ],
)
def test_an_alias_that_is_none_is_refused_at_the_start(path: str, channel: str, told: str) -> None:
    aliases = dict(ROOMS) if path != "/lobby" else {"/{name}": "chat:{name}"}
    with pytest.raises(ConfigError, match=told) as raised:
        paths({**aliases, path: channel})
    assert "messages.aliases" in str(raised.value)
