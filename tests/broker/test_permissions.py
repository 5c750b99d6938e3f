"""Who may do what in a channel, held against the options of its namespace."""

import pytest

from gapless.broker import permissions
from gapless.broker.namespaces import Namespace, Namespaces
from gapless.core.errors import PermissionDenied, UnknownChannel

OPEN = Namespace(name="open", allow_subscribe_for_client=True)
PUBLIC = Namespace(name="public", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True)
CLOSED = Namespace(name="closed")
LIMITED = Namespace(name="limited", allow_user_limited_channels=True)
ALL = Namespaces(named=(OPEN, PUBLIC, CLOSED, LIMITED))


@pytest.mark.parametrize(
    ("channel", "user", "may"),
    [
        ("open:1", "anna", True),
        ("open:1", "", False),
        ("public:1", "", True),
        ("closed:1", "anna", False),
        ("limited:1", "anna", False),
        ("limited:1#anna", "anna", True),
        ("limited:1#bea,anna", "anna", True),
        ("closed:1#anna", "anna", False),
    ],
)
def test_who_may_subscribe_is_said_by_the_namespace(channel: str, user: str, may: bool) -> None:
    assert permissions.subscribes(ALL, channel, user) is may
    if may:
        permissions.check_subscribe(ALL, channel, user)
    else:
        with pytest.raises(PermissionDenied):
            permissions.check_subscribe(ALL, channel, user)


@pytest.mark.parametrize(
    ("channel", "user"), [("$open:1", "anna"), ("limited:1#bea", "anna"), ("limited:1#", "")]
)
def test_what_is_closed_to_a_user_is_refused_whatever_is_asked(channel: str, user: str) -> None:
    with pytest.raises(PermissionDenied):
        permissions.limited(ALL, channel, user)


def test_a_namespace_that_is_not_there_allows_nothing() -> None:
    for channel in ("none:1", "$none:1"):
        with pytest.raises(UnknownChannel):
            permissions.limited(ALL, channel, "anna")


@pytest.mark.parametrize("for_client", [False, True])
@pytest.mark.parametrize("for_subscriber", [False, True])
@pytest.mark.parametrize("for_anonymous", [False, True])
@pytest.mark.parametrize("user", ["anna", ""])
@pytest.mark.parametrize("subscribed", [False, True])
def test_a_verb_is_for_clients_or_for_subscribers_and_for_the_anonymous_besides(
    for_client: bool, for_subscriber: bool, for_anonymous: bool, user: str, subscribed: bool
) -> None:
    namespace = Namespace(
        name="some",
        allow_history_for_client=for_client,
        allow_history_for_subscriber=for_subscriber,
        allow_history_for_anonymous=for_anonymous,
    )
    expected = (bool(user) or for_anonymous) and (for_client or (for_subscriber and subscribed))
    assert permissions.allowed(namespace, "history", user, subscribed=subscribed) is expected
