"""Certificates for tests, made when they are needed."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Pair", "certificate"]


class Pair(NamedTuple):
    """A certificate and its key, both PEM."""

    cert: str
    key: str

    def write(self, folder: Path, name: str = "server") -> Self:
        """Write both to files."""
        self.cert_file(folder, name).write_text(self.cert)
        self.key_file(folder, name).write_text(self.key)
        return self

    @staticmethod
    def cert_file(folder: Path, name: str = "server") -> Path:
        return folder / f"{name}.pem"

    @staticmethod
    def key_file(folder: Path, name: str = "server") -> Path:
        return folder / f"{name}.key"

    def client(self) -> ssl.SSLContext:
        """Return the context of a client that trusts this certificate and no other."""
        return ssl.create_default_context(cadata=self.cert)


def certificate(
    name: str = "localhost",
    *,
    begins: datetime | None = None,
    days: int = 30,
    password: bytes | None = None,
) -> Pair:
    """Make a certificate that signs itself, for `name` and this machine, from yesterday on."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    first = begins or datetime.now(UTC) - timedelta(days=1)
    names = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(first + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return Pair(made.public_bytes(serialization.Encoding.PEM).decode(), written.decode())
