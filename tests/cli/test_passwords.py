"""A hash of a password is made without the password being shown."""

import pytest
from click.testing import CliRunner

from gapless.cli import main, passwords
from gapless.server.console.passwords import COST, Cost, Hash, hash_of

CHEAP = Cost(16, 1, 1)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hash_of", lambda password, salt: hash_of(password, salt, CHEAP))


def made(text: str) -> str:
    done = CliRunner().invoke(main, ["console-password"], input=text)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nmore"])
def test_the_first_line_is_the_password(end: str) -> None:
    written = made(f"correct horse{end}")
    found = Hash.read(written)
    assert found is not None
    assert hash_of("correct horse", found.salt, CHEAP) == found
    assert "horse" not in written


def test_the_same_password_has_another_hash_each_time() -> None:
    assert made("correct horse") != made("correct horse")


@pytest.mark.parametrize("text", ["", "short", "\ncorrect horse"])
def test_a_short_one_is_none(text: str) -> None:
    done = CliRunner().invoke(main, ["console-password"], input=text)
    assert done.exit_code == 2
    assert "a password has at least 8 characters" in done.output


def test_it_costs_what_others_advise() -> None:
    assert (COST.n, COST.r, COST.p) == (2**15, 8, 3)
