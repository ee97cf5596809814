"""Feeds: who sends, and what this sender's words, codes and times mean.

Owns the profile of a feed and the choice of the profile for a message. A profile is data, read from the feeds file
by `feeds_file`; a new sender is an entry there and never code.

Promises:

- Senders are compared exactly, after trimming and without regard to case: nothing is matched by a part of a name.
  Of the entries that fit, the most specific counts: application and facility, then facility alone, then application
  alone (a facility decides zone and authority, while many hospitals run one application), then ``default:``.
- What a table does not hold has no code: class and disposition are mapped or left open, never guessed.

Sources: HL7 v2.5.1 tables 0004 (patient class), 0103 and 0207 (processing id and mode); HL7 v3 ActCode for the words of
class; NUBC FL 17 (patient status) for dispositions; `domain.md` §2.2 and §2.3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

CLASS_WORDS: Final = frozenset(
    # HL7 v3 ActCode, and four kinds of inpatient stay that it has no word for (protocols tell them apart).
    ("IMP", "ACUTE", "NONAC", "OBSENC", "EMER", "AMB", "SS", "PRENC", "HH", "VR", "FLD", "PSYCH", "REHAB", "LTC", "SNF")
)

CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "I": "IMP",
        "E": "EMER",
        "O": "AMB",
        "P": "PRENC",
        "R": "AMB",  # recurring: a series of visits
        "B": "IMP",  # obstetrics: a bed
        "OBS": "OBSENC",
        # Written out, or already in our words.
        "INPATIENT": "IMP",
        "EMERGENCY": "EMER",
        "OUTPATIENT": "AMB",
        "OBSERVATION": "OBSENC",
        **{word: word for word in ("IMP", "ACUTE", "NONAC", "OBSENC", "EMER", "AMB", "PRENC")},
    }
)
"""PV1-2 where the feed says nothing else. V and S mean observation and short stay in one profile (DirectTrust) and
other things elsewhere; C, N and U say nothing. They, and all else, stay without a word until the feed maps them."""

DISPOSITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "HOME": "01",
        "SNF": "03",
        "ICF": "04",
        "HOME HEALTH": "06",
        "HHA": "06",
        "AMA": "07",
        "LWBS": "07",  # left without being seen
        "EXP": "20",
        "EXPIRED": "20",
        "DECEASED": "20",
        "DIED": "20",
        "HOSPICE": "50",  # at home; 51 (in a facility) asks for the same
        "REHAB": "62",
        "IRF": "62",
        "LTAC": "63",
        "LTACH": "63",
        "LTCH": "63",
    }
)
"""PV1-36 in words that mean one thing everywhere. H, HOSP or DC do not."""

DEFAULT_NAME: Final = "default"
SENDERS_CACHED_MAX: Final = 1_024
"""Spellings of senders whose profile is remembered; an exchange has hundreds of senders."""

CERTIFICATE_KINDS: Final = ("dns", "uri", "cn", "sha256")
"""What a certificate can be listed by: alternative names, common name, or its fingerprint."""
_SHA256: Final = re.compile("[0-9a-f]{64}")

PROCESSING: Final = frozenset({("P", ""), ("P", "T")})
"""Production, current processing: table 0207 reads an empty mode as current."""


def fold(text: str) -> str:
    """Return what codes and names of senders are compared by."""
    return text.strip().upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityProfile:
    """One facility of a feed: code as found in PV1-3.4, EVN-7 or MSH-4, and the authority if it has its own."""

    code: str
    name: str | None = None
    zone: ZoneInfo
    authority: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedProfile:
    """One feed.

    Attributes:
        name: Unique; what people and logs call the feed.
        sending_application: MSH-3.1; ``None`` for any.
        sending_facility: MSH-4.1; ``None`` for any.
        authority: Assigning authority of the medical record numbers that name none, folded.
        zone: In which MSH-7 is read, and content times of facilities that state no other.
        facilities: By folded code.
        classes: The feed's own words for PV1-2, folded, to `CLASS_WORDS`.
        dispositions: The feed's own words for PV1-36, folded, to two-digit codes.
        processing: Pairs of MSH-11 (id, mode) whose messages may make tasks.
        charset: Instead of MSH-18, where the sender declares it wrongly.
        certificates: Names of the certificates of which one must be shown to send as this feed (`certificate_name`);
            none: no certificate is asked for.
    """

    name: str
    zone: ZoneInfo
    sending_application: str | None = None
    sending_facility: str | None = None
    authority: str | None = None
    facilities: Mapping[str, FacilityProfile] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    dispositions: Mapping[str, str] = field(default_factory=dict)
    processing: frozenset[tuple[str, str]] = PROCESSING
    charset: str | None = None
    certificates: frozenset[str] = frozenset()

    def class_of(self, raw: str) -> str | None:
        """Return our word for PV1-2; ``None`` where no table holds it."""
        return self.classes.get(raw) or CLASSES.get(raw) or self.classes.get(fold(raw)) or CLASSES.get(fold(raw))

    def disposition_of(self, raw: str) -> str | None:
        """Return the two-digit code for PV1-36; ``None`` where it is neither a number nor in a table."""
        key = fold(raw)
        found = self.dispositions.get(key) or DISPOSITIONS.get(key)
        if found is None and key.isascii() and key.isdigit():
            digits = key.lstrip("0")
            found = digits.zfill(2) if 1 <= len(digits) <= 2 else None
        return found

    def facility_of(self, *codes: str) -> FacilityProfile | None:
        """Return the profile of the first of these codes that has one."""
        if self.facilities:
            for code in codes:
                found = self.facilities.get(fold(code))
                if found is not None:
                    return found
        return None


class Feeds:
    """All feeds of an installation, found by sender."""

    __slots__ = ("_by_sender", "_found", "default", "profiles")

    def __init__(self, profiles: tuple[FeedProfile, ...] = (), *, default: FeedProfile | None = None) -> None:
        self.profiles = profiles
        self.default = default
        self._by_sender = {sender_key(one.sending_application, one.sending_facility): one for one in profiles}
        self._found = lru_cache(maxsize=SENDERS_CACHED_MAX)(self._find)

    def find(self, sending_application: str, sending_facility: str) -> FeedProfile | None:
        """Return the profile for MSH-3.1 and MSH-4.1; ``None`` where no entry and no default is for this sender."""
        return self._found(sending_application, sending_facility)

    def _find(self, sending_application: str, sending_facility: str) -> FeedProfile | None:
        application, facility = fold(sending_application), fold(sending_facility)
        by_sender = self._by_sender
        return (
            by_sender.get((application, facility))
            or by_sender.get((None, facility))
            or by_sender.get((application, None))
            or self.default
        )


def certificate_name(text: str) -> str | None:
    """Return a name of a certificate as names are compared; ``None`` where it is none.

    >>> certificate_name("DNS:adt.Mercy.example"), certificate_name("adt.mercy.example")
    ('dns:adt.mercy.example', None)
    >>> certificate_name("sha256:" + "AB:" * 31 + "AB") == "sha256:" + "ab" * 32
    True
    """
    kind, _, name = text.strip().lower().partition(":")
    name = " ".join(name.split())
    if kind == "sha256":
        name = name.replace(":", "")
        return f"{kind}:{name}" if _SHA256.fullmatch(name) else None
    return f"{kind}:{name}" if kind in CERTIFICATE_KINDS and name and "*" not in name else None


def sender_key(application: str | None, facility: str | None) -> tuple[str | None, str | None]:
    """Return what an entry is found by; two entries of one key name the same sender."""
    return (None if application is None else fold(application), None if facility is None else fold(facility))
