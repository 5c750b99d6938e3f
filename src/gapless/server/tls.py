"""TLS for the port, from a certificate and its key."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from gapless.core.errors import ConfigError
from gapless.core.limits import PEM_BYTES_MAX
from gapless.server.config.model import Tls

__all__ = ["context", "files_of", "mistakes"]

_BEGIN: Final = b"-----BEGIN "
_SECTION: Final = "http_server.tls"  # unless it is another one


def context(tls: Tls, now_ms: int, section: str = _SECTION) -> ssl.SSLContext | None:
    """Return what connections are to be secured with, or None where TLS is not enabled. Reads files.

    `section` is where it is configured. TLS 1.2 and newer. Call it again, and give the front what it returns,
    when the files have changed.

    Raises:
        ConfigError: certificate or key are missing, damaged, no pair, or not valid now.
    """
    if not tls.enabled:
        return None
    cert_path, key_path = f"{section}.cert_pem", f"{section}.key_pem"
    certificate, key = _load(tls.cert_pem, cert_path), _load(tls.key_pem, key_path)
    _check_times(certificate, _told(tls.cert_pem, cert_path), now_ms)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    _use(made, certificate + b"\n" + key, _told(tls.key_pem, key_path), cert_path)
    if tls.client_ca_pem:
        ca_path = f"{section}.client_ca_pem"
        _demand(made, _load(tls.client_ca_pem, ca_path), _told(tls.client_ca_pem, ca_path))
    return made


def mistakes(tls: Tls, now_ms: int, section: str = _SECTION) -> Iterator[str]:
    """Say what cannot be used: of each file that cannot be read, or else how they do not go together."""
    found = []
    for key in ("cert_pem", "key_pem", *(["client_ca_pem"] if tls.client_ca_pem else ())):
        try:
            if tls.enabled:
                _load(getattr(tls, key), f"{section}.{key}")
        except ConfigError as error:
            found.append(str(error))
    yield from found
    try:
        if not found:
            context(tls, now_ms, section)
    except ConfigError as error:
        yield str(error)


def files_of(tls: Tls) -> Iterable[Path]:
    """Return the files that the configuration names: those that may change."""
    values = (tls.cert_pem, tls.key_pem, tls.client_ca_pem) if tls.enabled else ()
    return [Path(value) for value in values if value and _inline(value) is None]


def _load(value: str, path: str) -> bytes:
    """Return a PEM: the value itself, or what it is in base64, or a file that it names."""
    if not value:
        raise ConfigError(f"{path}: is missing: name a PEM file")
    found = _inline(value)
    if found is None:
        try:
            with Path(value).open("rb") as file:
                found = file.read(PEM_BYTES_MAX)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is no path"
            raise ConfigError(f"{_told(value, path)}: cannot be read: {reason}") from error
    if _BEGIN not in found:
        raise ConfigError(f"{_told(value, path)}: is no PEM")
    return found


def _inline(value: str) -> bytes | None:
    if _BEGIN in value.encode():
        return value.encode()
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if _BEGIN in decoded else None


def _told(value: str, path: str) -> str:
    """Name a file for an error; never what is written in the configuration itself."""
    return path + (f": {value}" if _inline(value) is None else "")


def _check_times(certificate: bytes, told: str, now_ms: int) -> None:
    try:
        first, *_ = x509.load_pem_x509_certificates(certificate)
    except ValueError as error:
        raise ConfigError(f"{told}: is no certificate") from error
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if now > first.not_valid_after_utc:
        raise ConfigError(f"{told}: expired on {first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; renew it")
    if now < first.not_valid_before_utc:
        begins = first.not_valid_before_utc
        raise ConfigError(f"{told}: is not valid before {begins:%Y-%m-%d %H:%M} UTC; is the clock right?")


def _use(made: ssl.SSLContext, pair: bytes, told: str, cert_path: str) -> None:
    def no_password() -> str:
        raise ConfigError(f"{told}: is encrypted; give the key without a password")

    # OpenSSL reads them from a file only; this one is for its owner alone, and gone at once.
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair)
        file.flush()
        try:
            made.load_cert_chain(file.name, password=no_password)
        except ssl.SSLError as error:
            raise ConfigError(_reason(error, told, cert_path)) from error


def _reason(error: ssl.SSLError, told: str, cert_path: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{told}: is not the key of the certificate in {cert_path}"
    return f"{told}: cannot be used with its certificate: {error.reason or error}"


def _demand(made: ssl.SSLContext, authority: bytes, told: str) -> None:
    try:
        made.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{told}: is no certificate of an authority") from error
    made.verify_mode = ssl.CERT_REQUIRED
