"""What is shown of texts with secrets in them."""

import pytest

from gapless.core.masking import masked_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:se@cret@host", "redis://:***@host"),
        (
            "redis+sentinel://a:1,b:2/m?sentinel_password=x&prefix=p",
            "redis+sentinel://a:1,b:2/m?sentinel_password=***&prefix=p",
        ),
        ("sqlite:app.db", "sqlite:app.db"),
    ],
)
def test_no_password_is_shown(text: str, shown: str) -> None:
    assert masked_url(text) == shown
