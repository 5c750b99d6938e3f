"""Every method of the server API has its place: whoever only looks can change nothing."""

from unittest.mock import Mock

import pytest

from gapless.broker.verbs import Verbs
from gapless.cli.dev.lab import Lab
from gapless.core.errors import PermissionDenied
from gapless.server.api import Api, every_method
from gapless.server.config.model import Role
from gapless.server.console import roles
from gapless.server.openapi import METHODS

EXISTING = {
    *Api(Mock(), every_method(Mock(), Mock(), Mock(), Mock(), Verbs(Mock(), Mock()))).methods,
    *METHODS,
    *Lab().methods(),
    "stream/replay",
}


def test_every_method_either_looks_or_acts() -> None:
    placed = (roles.LOOKS, roles.ACTS, roles.NOBODY)
    assert not [method for method in EXISTING if sum(method in each for each in placed) != 1]


def test_no_method_is_placed_that_does_not_exist() -> None:
    placed = {method for method in (*roles.LOOKS, *roles.ACTS) if not method.startswith("lab/")}
    assert not placed - EXISTING
    assert roles.RECORDED_BY_THE_BROKER <= roles.ACTS


@pytest.mark.parametrize("method", sorted(EXISTING))
def test_whoever_only_looks_calls_what_looks(method: str) -> None:
    if method in roles.LOOKS:
        roles.check(Role.READ_ONLY, method)
    else:
        with pytest.raises(PermissionDenied):
            roles.check(Role.READ_ONLY, method)


@pytest.mark.parametrize("method", sorted(EXISTING))
def test_an_operator_calls_everything_that_can_be_recorded(method: str) -> None:
    if method == "batch":
        with pytest.raises(PermissionDenied, match="needs the key of the API"):
            roles.check(Role.OPERATOR, method)
    else:
        roles.check(Role.OPERATOR, method)


def test_a_method_that_nobody_placed_is_an_act() -> None:
    with pytest.raises(PermissionDenied):
        roles.check(Role.READ_ONLY, "something/new")
    assert roles.is_recorded_here("something/new")


def test_every_act_is_recorded_by_the_broker_or_here() -> None:
    assert all(roles.is_recorded_here(method) for method in roles.ACTS - roles.RECORDED_BY_THE_BROKER)
    assert not any(roles.is_recorded_here(method) for method in roles.LOOKS)
