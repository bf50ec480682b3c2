"""An authority, and what it signs for a broker on the loopback address; valid for a day."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ml.chain.anvil import HOST

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Who signs."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        return _write(self.folder / "ca.pem", _pem(self.certificate))

    def sign_for(self, host: str = HOST) -> tuple[Path, Path]:
        """A certificate for a broker at an address, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        certificate = (
            _begun(host, self.certificate.subject, key)
            .add_extension(name, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        shown = _write(self.folder / "broker.pem", _pem(certificate))
        return shown, _write(self.folder / "broker.key", secret)


def authority(folder: Path) -> Authority:
    """Make an authority that signs its own certificate, with its files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    may_sign = x509.BasicConstraints(ca=True, path_length=0)
    certificate = (
        _begun("authority", _name("authority"), key)
        .add_extension(may_sign, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(folder, certificate, key)


def _begun(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=_name(subject),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - DAY,
        not_valid_after=now + DAY,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
