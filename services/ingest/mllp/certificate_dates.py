"""Until when a certificate is valid, read from its bytes; the standard library tells it of a peer's certificate only.

No more of a certificate is understood here than the way to its validity. Pure.
Source: X.690 (DER); RFC 5280 §4.1 (the order of the fields) and §4.1.2.5 (the two forms of a time).
"""

from datetime import UTC, datetime
from typing import Final

_VERSION_TAG: Final = 0xA0  # [0] EXPLICIT, left out in certificates of version 1
_UTC_TIME: Final = 0x17


def not_after(certificate: bytes) -> datetime:
    """Return the end of the validity of a certificate in DER.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        _, whole, _ = _take(certificate)
        _, fields, _ = _take(whole)  # tbsCertificate
        if fields[0] == _VERSION_TAG:
            fields = _take(fields)[2]
        for _ in range(3):  # serialNumber, signature, issuer
            fields = _take(fields)[2]
        _, validity, _ = _take(fields)
        tag, text, _ = _take(_take(validity)[2])
    except IndexError as error:
        raise ValueError("not a certificate") from error
    return _time(tag, text.decode("ascii"))


def _take(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and content of the first element, and what comes after it."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("not a certificate")
    return tag, data[start : start + length], data[start + length :]


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:  # two digits of the year: those from 50 on are of the last century (RFC 5280 §4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
