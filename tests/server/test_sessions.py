import json

import pytest

from gapless.protocol.messages import payload
from tests.conversation import Stage, T, play, token


def test_sessions_are_found_by_user_and_by_client() -> None:
    async def scene(stage: Stage) -> None:
        first, second, other, nobody = (stage.peer() for _ in range(4))
        for peer, user in ((first, "ann"), (second, "ann"), (other, "bob"), (nobody, "")):
            await peer.connect(token=user) if user else await peer.connect()
        sessions = stage.sessions
        assert sessions.of("ann") == [first.session, second.session]
        assert sessions.of("ann", client=second.session.info.client) == [second.session]
        assert sessions.of("", client=nobody.session.info.client) == [nobody.session]
        assert sessions.of("", client=other.session.info.client) == [other.session]
        assert sessions.of("bob", client=first.session.info.client) == []
        assert sessions.of("eve") == sessions.of("") == sessions.of("", client="x") == []
        assert sessions.num_users == 3
        first.session.closed(1000, "")
        assert sessions.of("ann") == [second.session]
        second.session.disconnected((4242, "out"))
        assert second.socket.closed_with == (4242, "out")
        assert sessions.of("ann") == []
        assert sessions.of("", client=second.session.info.client) == []
        assert sessions.num_users == 2

    play(scene)


def test_what_a_session_connected_with_is_kept() -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=token("ann", until_ms=T + 60_000, info={"n": 1}))
        assert peer.session.claims.user == "ann"
        assert peer.session.claims.expires_ms == T + 60_000
        assert json.loads(bytes(peer.session.claims.info)) == {"n": 1}

    play(scene)


@pytest.mark.parametrize(
    ("expires_ms", "told", "closed"),
    [(T + 90_000, {"expires": True, "ttl": 90}, 0), (0, {}, 0), (T, None, 3005), (1, None, 3005)],
)
def test_the_server_prolongs_a_connection_or_ends_it(
    expires_ms: int, told: dict[str, object] | None, closed: int
) -> None:
    async def scene(stage: Stage) -> None:
        peer = stage.peer()
        await peer.connect(token=token("ann", until_ms=T + 60_000, info=1))
        peer.session.refreshed(expires_ms, info=payload(b"2"))
        peer.session.flush()
        assert [reply["push"]["refresh"] for reply in peer.heard()] == ([] if told is None else [told])
        assert (peer.socket.closed_with or (0, ""))[0] == closed
        if not closed:
            stage.clock.pass_ms(60_000 + 25_250)
            assert peer.session.open
            assert bytes(peer.session.info.conn_info) == b"2"

    play(scene, ping_interval_ms=600_000)
