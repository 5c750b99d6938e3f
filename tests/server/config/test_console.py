"""Who may log in to the console: sections, variables by name, and no password is ever shown."""

from pathlib import Path

import pytest

from gapless.core.errors import ConfigError
from gapless.server.config import Config, examine, from_environment, from_file, from_flags, read
from gapless.server.config.model import Role
from gapless.server.config.showing import lines
from gapless.server.console.passwords import Cost, hash_of
from gapless.server.reloading import changes

HASH = str(hash_of("correct horse", b"salt", Cost(16, 1, 1)))
FILE = f"""
[console]
enabled = true
session_ttl = "8h"

[[console.users]]
name = "ann"
role = "operator"
password = "{HASH}"

[[console.users]]
name = "bob.b@example.com"
password = "battery staple"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gapless.toml"
    path.write_text(text)
    return path


def configured(tmp_path: Path, text: str, environment: dict[str, str] | None = None, *flags: str) -> Config:
    sources = [from_file(written(tmp_path, text)), *from_environment(environment or {}), *from_flags(flags)]
    return read(sources)


def test_users_have_a_name_a_role_and_a_password(tmp_path: Path) -> None:
    console = configured(tmp_path, FILE).console
    ann, bob = console.users
    assert (console.enabled, console.insecure, console.handler_prefix) == (True, False, "/console")
    assert console.session_ttl_ms == 8 * 3600 * 1000
    assert (ann.name, ann.role, ann.password) == ("ann", Role.OPERATOR, HASH)
    assert (bob.name, bob.role) == ("bob.b@example.com", Role.READ_ONLY)


def test_without_a_word_there_is_none_and_a_session_lasts_half_a_day() -> None:
    console = Config().console
    assert (console.enabled, console.insecure, console.users) == (False, False, ())
    assert console.session_ttl_ms == 12 * 3600 * 1000


def test_a_variable_a_file_of_it_or_a_flag_names_a_user(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from a file\n")
    environment = {"GAPLESS_CONSOLE__USERS__ANN__PASSWORD_FILE": str(secret)}
    flag = "console.users.bob_b@example_com.role=operator"
    ann, bob = configured(tmp_path, FILE, environment, flag).console.users
    assert ann.password == "from a file"
    assert bob.role is Role.OPERATOR


def test_a_password_may_stand_in_a_variable_alone(tmp_path: Path) -> None:
    text = "[[console.users]]\nname = 'ann'\n"
    (ann,) = configured(tmp_path, text, {"GAPLESS_CONSOLE__USERS__ANN__PASSWORD": "x"}).console.users
    assert ann.password == "x"


def test_all_users_may_stand_in_one_variable(tmp_path: Path) -> None:
    users = '[{"name": "ann", "role": "operator", "password": "x"}]'
    (ann,) = configured(tmp_path, "", {"GAPLESS_CONSOLE__USERS": users}).console.users
    assert (ann.name, ann.role) == ("ann", Role.OPERATOR)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            "name = 'ann'",
            2,
            "'ann' needs a password, or a hash of it as `gapless console-password` makes one",
        ),
        ("name = 'ann'\npassword = ''", 2, "'ann' needs a password"),
        ("password = 'x'", 2, "a name has 1 to 64 letters"),
        ("name = 'a b'\npassword = 'x'", 2, "not 'a b'"),
        ("name = 'ann:x'\npassword = 'x'", 2, "not 'ann:x'"),
        (f"name = '{'a' * 65}'\npassword = 'x'", 2, "a name has 1 to 64 letters"),
        ("name = 'key'\npassword = 'x'", 2, "write another name"),
        ("name = 'anybody'\npassword = 'x'", 2, "write another name"),
        ("name = 'ann'\nrole = 'admin'", 3, "expected one of 'operator', 'read_only'"),
        ("name = 'ann'\npassword = 'scrypt:1'", 2, "the password of 'ann': a hash of a password looks like"),
        ("name = 'ann'\npasword = 'x'", 3, "did you mean console.users.password?"),
        ("name = 'ann'\npassword = 5", 3, "console.users[0].password: expected a text, not what is there"),
    ],
)
def test_a_user_that_cannot_be_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(tmp_path, f"[[console.users]]\n{text}\n")
    assert said in str(raised.value)
    assert f"gapless.toml:{line}: " in str(raised.value)


def test_who_is_changed_by_a_variable_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"console\.users: there is no user 'eve'"):
        configured(tmp_path, FILE, {"GAPLESS_CONSOLE__USERS__EVE__ROLE": "operator"})


def test_no_password_is_shown_nor_a_hash_of_one(tmp_path: Path) -> None:
    found = examine([from_file(written(tmp_path, FILE))])
    shown = {line.key: (line.value, line.origin) for line in lines(found.checked(), found.origins)}
    assert shown["console.users[0].name"] == ("ann", f"{tmp_path}/gapless.toml:7")
    assert shown["console.users[0].password"] == ("***", f"{tmp_path}/gapless.toml:9")
    assert shown["console.users[1].password"] == ("***", f"{tmp_path}/gapless.toml:13")
    assert shown["console.users[1].role"] == ("read_only", "default")


def test_a_change_of_a_password_is_told_without_it(tmp_path: Path) -> None:
    before = configured(tmp_path, FILE)
    after = configured(tmp_path, FILE, {"GAPLESS_CONSOLE__USERS__ANN__PASSWORD": "new"})
    assert list(changes(before, after)) == ["console.users[0].password (a secret → a secret)"]


@pytest.mark.parametrize("text", ["[admin]\nenabled = true\npassword = 'x'\nsecret = 'y'"])
def test_centrifugos_admin_is_told_what_takes_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"see console\.enabled and console\.users"):
        configured(tmp_path, text)
