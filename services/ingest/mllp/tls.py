"""TLS as this listener means it: what it offers, what it demands, and what a certificate or a failure says.

Promises: TLS 1.2 or 1.3, forward secrecy and authenticated ciphers only, nothing resumed by a ticket and nothing
renegotiated, so that a connection has shown its certificate to the authorities that are in force. A certificate's names
are read only after it was found to be trusted. No message's byte is in here.

Source: RFC 9325 (BCP 195) §3 and §4; IHE ITI TF-2 3.19 (both nodes have certificates); faults.md §3.
"""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from services.ingest.mllp.inbound import PeerIdentity
from services.ingest.mllp.observation import HandshakeFailure

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 (RFC 9325 §4.2). All of TLS 1.3 are such by themselves."""
NAMES_MAX: Final = 20
"""Names read of one certificate: they go into the log with each message. One with more is listed by its fingerprint."""
REVOCATION_MARK: Final = b"-----BEGIN X509 CRL-----"

# OpenSSL's words for what it found wrong. Those of a certificate are numbers of X509_verify_cert_error_string(3).
_CERTIFICATE_ERRORS: Final = {
    9: HandshakeFailure.CERTIFICATE_NOT_YET_VALID,
    10: HandshakeFailure.CERTIFICATE_EXPIRED,
    23: HandshakeFailure.CERTIFICATE_REVOKED,
    # No chain to a certificate authority that we trust: 2 and 20 issuer unknown, 18 and 19 self-signed, 21 alone.
    **dict.fromkeys((2, 18, 19, 20, 21), HandshakeFailure.CERTIFICATE_UNTRUSTED),
}
_ERRORS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": HandshakeFailure.CERTIFICATE_MISSING,
    "UNSUPPORTED_PROTOCOL": HandshakeFailure.VERSION_UNSUPPORTED,
    "UNKNOWN_PROTOCOL": HandshakeFailure.VERSION_UNSUPPORTED,
    "VERSION_TOO_LOW": HandshakeFailure.VERSION_UNSUPPORTED,
    "NO_SHARED_CIPHER": HandshakeFailure.CIPHERS_DIFFER,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": HandshakeFailure.CIPHERS_DIFFER,
    "UNEXPECTED_EOF_WHILE_READING": HandshakeFailure.CUT_OFF,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The files of a listener's TLS, all PEM.

    Attributes:
        certificate: Our certificate and what leads from it to its authority.
        key: Its private key, not encrypted: nobody is there to type a password when the service starts at night.
        client_ca: The authorities whose certificates we trust, and their revocation lists if there are any. ``None``:
            nobody is asked for a certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """Return the files there are."""
        return (self.certificate, self.key) if self.client_ca is None else (self.certificate, self.key, self.client_ca)


class TlsFilesError(ValueError):
    """The files cannot be used; the message says which and what to do, and holds nothing of a key."""


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what handshakes are made with.

    Raises:
        TlsFilesError: a file is missing, is not what it is meant to be, or does not fit the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    load_certificate(context, files.certificate, files.key)
    if files.client_ca is not None:
        load_authorities(context, files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Take a certificate and its key to show.

    Raises:
        TlsFilesError: they cannot be used.
    """
    for path in (certificate, key):
        read_file(path)  # OpenSSL does not say which of the two is missing
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsFilesError(f"the key {key} is not that of the certificate {certificate}") from error
        raise TlsFilesError(
            f"{certificate} and {key} are not a certificate and its key in PEM ({error.reason or 'no PEM'})"
        ) from error
    except _EncryptedKeyError as error:
        raise TlsFilesError(
            f"the key {key} is encrypted, and nobody is there to type its password: store it without one, "
            "readable by the service alone"
        ) from error


def load_authorities(context: ssl.SSLContext, path: Path) -> None:
    """Take authorities to trust, and heed their revocation lists where there are any.

    Raises:
        TlsFilesError: there are none.
    """
    content = read_file(path)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise TlsFilesError(f"{path} holds no certificates in PEM ({error.reason or 'no PEM'})") from error
    if not context.cert_store_stats()["x509_ca"]:
        raise TlsFilesError(
            f"{path} holds no certificate of an authority (basicConstraints CA): give the one that issued the "
            "certificates to be trusted"
        )
    if REVOCATION_MARK in content:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def read_file(path: Path) -> bytes:
    """Return the content of one of the files.

    Raises:
        TlsFilesError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFilesError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error


class _EncryptedKeyError(Exception):
    """A password was asked for."""


def _refuse_password() -> NoReturn:
    raise _EncryptedKeyError


def name_failure(error: ssl.SSLError) -> HandshakeFailure:
    """Return our word for why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_ERRORS.get(error.verify_code, HandshakeFailure.CERTIFICATE_REFUSED)
    reason = error.reason or ""
    if "_ALERT_" in reason:  # TLSV1_ALERT_UNKNOWN_CA and the like: it is they who do not like ours
        return HandshakeFailure.REFUSED_BY_PEER
    return _ERRORS.get(reason, HandshakeFailure.BROKEN)


def identity_of(tls: ssl.SSLObject) -> PeerIdentity | None:
    """Return who the peer has proven to be; ``None`` where it was not asked."""
    encoded = tls.getpeercert(binary_form=True)
    stated: dict[str, Any] = tls.getpeercert() or {}
    if encoded is None or not stated:  # without having been verified, a certificate states nothing
        return None
    fingerprint = f"sha256:{hashlib.sha256(encoded).hexdigest()}"
    named = [("cn", value) for part in stated.get("subject", ()) for name, value in part if name == "commonName"]
    kinds = {"DNS": "dns", "URI": "uri"}
    named += [(kinds[kind], value) for kind, value in stated.get("subjectAltName", ()) if kind in kinds]
    names = [f"{kind}:{' '.join(value.lower().split())}" for kind, value in named[:NAMES_MAX]]
    return PeerIdentity(
        names=frozenset((fingerprint, *names)),
        fingerprint=fingerprint,
        expires_at=float(ssl.cert_time_to_seconds(stated["notAfter"])),
    )
