"""Certificates for tests, from authorities that exist for one process: right ones, and each kind of wrong one."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from services.ingest.mllp.tls import TlsFiles, server_context

SERVER = "listener.test"


@cache
def authority(name: str = "hospitals") -> trustme.CA:
    """Return the authority of a name, the same one each time."""
    return trustme.CA(organization_name=name, key_type=trustme.KeyType.ECDSA)


def issue(
    *names: str, by: str = "hospitals", common_name: str | None = None, valid_for: timedelta = timedelta(days=30)
) -> trustme.LeafCert:
    """Issue a certificate; of a negative validity, one that has expired so long ago."""
    end = datetime.now(UTC) + valid_for
    return authority(by).issue_cert(
        *names,
        common_name=common_name,
        not_before=min(end, datetime.now(UTC)) - timedelta(days=1),
        not_after=end,
        key_type=trustme.KeyType.ECDSA,
    )


@dataclass(frozen=True)
class ServerFiles:
    """The three files of a listener in a folder, which a test may replace."""

    folder: Path

    @property
    def files(self) -> TlsFiles:
        return TlsFiles(certificate=self.cert, key=self.key, client_ca=self.client_ca)

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def client_ca(self) -> Path:
        return self.folder / "clients.pem"

    def write(self, leaf: trustme.LeafCert, *, trusting: tuple[str, ...] = ("hospitals",)) -> "ServerFiles":
        """Write all of them."""
        self.write_certificate(leaf)
        self.client_ca.write_bytes(b"".join(authority(name).cert_pem.bytes() for name in trusting))
        return self

    def write_certificate(self, leaf: trustme.LeafCert) -> None:
        self.key.touch(mode=0o600)
        self.key.write_bytes(leaf.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    def context(self) -> ssl.SSLContext:
        return server_context(self.files)


def server_files(folder: Path) -> ServerFiles:
    """Write a listener's usual files."""
    folder.mkdir(exist_ok=True)
    return ServerFiles(folder).write(issue(SERVER, by="ours"))


def client_context(leaf: trustme.LeafCert | None, *, trusting: str = "ours") -> ssl.SSLContext:
    """Return what a sender connects with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority(trusting).configure_trust(context)
    if leaf is not None:
        leaf.configure_cert(context)
    return context


def fingerprint(leaf: trustme.LeafCert) -> str:
    """Return the name by which only this certificate can be listed."""
    return "sha256:" + decoded(leaf).fingerprint(hashes.SHA256()).hex()


def decoded(leaf: trustme.LeafCert) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())


def revocation_list(*revoked: trustme.LeafCert, by: str = "hospitals") -> bytes:
    """Return the list of an authority's certificates that are not to be trusted any more."""
    issuer = authority(by)
    key = serialization.load_pem_private_key(issuer.private_key_pem.bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    building = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_pem_x509_certificate(issuer.cert_pem.bytes()).subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
    )
    for leaf in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(decoded(leaf).serial_number).revocation_date(now)
        building = building.add_revoked_certificate(entry.build())
    return building.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
