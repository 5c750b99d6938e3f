"""`gapless token make` and `gapless token check`."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from gapless.backends import store_clock
from gapless.broker.tokens import Claims, SubscriptionClaims, Verifier
from gapless.cli.calling import as_json
from gapless.cli.configured import Sources, configured
from gapless.core.durations import milliseconds
from gapless.core.errors import ConfigError
from gapless.server import signing
from gapless.server.clock import LoopClock
from gapless.server.config import Config, read
from gapless.server.config.model import Token
from gapless.server.tokens import Trusts

__all__ = ["token"]

STDIN: Final = "-"


@click.group()
def token() -> None:
    """Make and check the tokens that clients connect and subscribe with."""


def _json(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any]:
    try:
        return msgspec.json.decode(value or "{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{value!r} is no JSON object: {error}", ctx, param) from error


def _duration_ms(ctx: click.Context, param: click.Parameter, value: str) -> int:
    try:
        return milliseconds(value)
    except ValueError as error:
        raise click.BadParameter(f'{error}; write one such as "1h30m", or 0', ctx, param) from error


@token.command()
@click.argument("user")
@configured
@click.option("--channel", help="Make a subscription token for this channel.")
@click.option("--ttl", callback=_duration_ms, default="1h", show_default=True, help="How long; 0: for ever.")
@click.option(
    "--claims", callback=_json, help='More claims, such as {"info": {}, "channels": [], "jti": ""}.'
)
@click.option(
    "--key-file", type=click.Path(path_type=Path), help="A private key in PEM, for RS, ES and EdDSA."
)
@click.option("--algorithm", default="HS256", show_default=True)
@as_json
def make(
    user: str,
    sources: Sources,
    channel: str | None,
    ttl: int,
    claims: dict[str, Any],
    key_file: Path | None,
    algorithm: str,
    as_json: bool,
) -> None:
    """Sign a token for USER with the secret of the configuration, or with a private key."""
    issued_s, lifetime_s = store_clock()() // 1000, max(1, ttl // 1000) if ttl else 0
    said = signing.standard(user, issued_s, lifetime_s=lifetime_s, channel=channel)
    if key_file:
        key = _private(key_file)
    else:
        section, keys = signing.section_for(read(sources()).client, subscription=channel is not None)
        key, said = _secret(section, keys), {**said, **signing.expected(keys, user)}
    claims = {**said, **claims}
    signed = signing.sign(claims, key, algorithm)
    click.echo(msgspec.json.encode({"token": signed, "claims": claims}) if as_json else signed)


def _private(key_file: Path) -> str:
    try:
        return key_file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--key-file: {key_file} cannot be read: {error}") from error


def _secret(section: str, keys: Token) -> str:
    if not keys.hmac_secret_key:
        raise ConfigError(f"{section}.hmac_secret_key is not configured; set it, or give --key-file")
    return keys.hmac_secret_key


@token.command()
@click.argument("text", metavar="TOKEN")
@configured
@click.option("--subscription", is_flag=True, help="It is a subscription token.")
@as_json
def check(text: str, sources: Sources, subscription: bool, as_json: bool) -> None:
    """Hold TOKEN (- reads it from standard input) against the configuration, and print what it says.

    A token that a server with this configuration would refuse ends with code 2, and why.
    """
    if text == STDIN:
        text = sys.stdin.read().strip()
    said = asyncio.run(_claims(read(sources()), text, subscription=subscription))
    shown = _shown(said)
    if as_json:
        click.echo(msgspec.json.encode(shown))
        return
    for name, value in shown.items():
        if value:
            click.echo(
                f"{name:<14} {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
            )


def _shown(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value) if bytes(value) else None
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {name: _shown(each) for name, each in value.items() if each is not None}
    return value


async def _claims(config: Config, text: str, *, subscription: bool) -> Claims | SubscriptionClaims:
    clock = LoopClock()
    verifier = Verifier(*Trusts(clock).read(config.client))
    try:
        fetched = verifier.ready(text, subscription=subscription)
        if fetched is not None:
            await fetched
        verify = verifier.subscription if subscription else verifier.connection
        return verify(text, clock.now_ms())
    finally:
        verifier.close()
