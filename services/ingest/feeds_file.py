"""The feeds file: YAML in, feeds out, or every problem with its line.

Owns the format: a list ``feeds:`` and a profile ``default:``, both optional but not both missing. Keys of an entry:
``name``, ``sending_application`` and ``sending_facility`` (either may be left out), ``zone`` (IANA, required),
``authority``, ``facilities`` (code → ``name``, ``zone``, ``authority``), ``classes``, ``dispositions``, ``processing``,
``charset``, ``certificates``. ``default:`` has the same without the sender.

Promise: a file gives `Feeds`, or one `FeedsError` with everything that is wrong in it, so that it is mended in one go.
"""

import re
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

import yaml

from services.ingest.feeds import (
    CLASS_WORDS,
    DEFAULT_NAME,
    PROCESSING,
    FacilityProfile,
    FeedProfile,
    Feeds,
    certificate_name,
    fold,
    sender_key,
)
from services.ingest.yaml_nodes import NodeReader, Problem, line_of

FEEDS_FILE_BYTES_MAX: Final = 4 * 1_048_576
"""An exchange with a thousand facilities needs a quarter of a megabyte; more is some other file."""

_TOP_KEYS: Final = ("feeds", "default")
_SENDER_KEYS: Final = ("sending_application", "sending_facility")
_PROFILE_KEYS: Final = (
    "name", "zone", "authority", "facilities", "classes", "dispositions", "processing", "charset", "certificates",
)  # fmt: skip
_FACILITY_KEYS: Final = ("name", "zone", "authority")
_NOTHING: Final = "names no feed: it needs a list `feeds:`, or `default:`, or both"

_PROCESSING: Final = re.compile(r"([PTD])(?:\^([AIRT]))?")  # HL7 tables 0103 and 0207
_DISPOSITION: Final = re.compile(r"(?!00)[0-9]{2}")
# EST, MST or localtime would resolve too, to times that are wrong for half of the year or on another machine.
_ZONE: Final = re.compile(r"UTC|[A-Za-z_]+/[A-Za-z0-9_+/-]+")


class FeedsError(ValueError):
    """The feeds file is wrong: nothing is taken from it until a person has mended it."""

    def __init__(self, file: Path, problems: tuple[Problem, ...]) -> None:
        super().__init__(file, problems)
        self.file = file
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(f"{self.file}:{one.line or 1}: {one.reason}" for one in self.problems)


def load_feeds(file: Path, *, is_charset: Callable[[str], bool]) -> Feeds:
    """Read the feeds file; ``is_charset`` says whether the reading of messages knows a label of table 0211.

    Raises:
        FeedsError: it cannot be read, or something in it is wrong.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(FEEDS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise FeedsError(file, (Problem(line=None, reason=f"cannot be read: {error.strerror}"),)) from error
    if len(data) > FEEDS_FILE_BYTES_MAX:
        reason = f"is larger than {FEEDS_FILE_BYTES_MAX} bytes; is this the feeds file?"
        raise FeedsError(file, (Problem(line=None, reason=reason),))
    return read_feeds(data, file=file, is_charset=is_charset)


def read_feeds(data: bytes, *, file: Path, is_charset: Callable[[str], bool]) -> Feeds:
    """Read the content of the feeds file; ``file`` names it in problems.

    Raises:
        FeedsError: something in it is wrong.
    """
    reading = _Reading(is_charset)
    feeds = reading.feeds(data)
    if reading.nodes.problems:
        raise FeedsError(file, tuple(sorted(reading.nodes.problems, key=lambda one: one.line or 0)))
    return feeds


_Entries = dict[str, yaml.Node]


class _Reading:
    """One reading of a file; where something is wrong its value is nothing, and in the end the file is refused."""

    def __init__(self, is_charset: Callable[[str], bool]) -> None:
        self.nodes = NodeReader()
        self._is_charset = is_charset
        self._names: dict[str, int] = {}
        self._senders: dict[tuple[str | None, str | None], int] = {}

    def feeds(self, data: bytes) -> Feeds:
        root = self.nodes.compose(data)
        entries = self.nodes.record(root, "the file", _TOP_KEYS) if root is not None else None
        if entries is None:
            return Feeds()
        if root is not None and not root.value:
            self.nodes.refuse(root, _NOTHING)
        listed = self.nodes.sequence(entries["feeds"], "`feeds`") if "feeds" in entries else []
        profiles = [profile for node in listed if (profile := self._profile(node, "a feed", _SENDER_KEYS))]
        default = self._profile(entries["default"], "`default`", ()) if "default" in entries else None
        return Feeds(tuple(profiles), default=default)

    def _profile(self, node: yaml.Node, what: str, sender_keys: tuple[str, ...]) -> FeedProfile | None:
        entries = self.nodes.record(node, what, (*sender_keys, *_PROFILE_KEYS))
        if entries is None:
            return None
        self._require(entries, node, what, ("name", "zone") if sender_keys else ("zone",))
        name = self._text(entries, "name") or DEFAULT_NAME
        zone = self._zone(entries.get("zone"))
        application, facility = (self._text(entries, key) for key in _SENDER_KEYS)
        if sender_keys and not entries.keys() & set(sender_keys):
            self.nodes.refuse(node, f"{what} names no sender: give sending_application, sending_facility or both")
        elif sender_keys:
            self._check_sender(node, application, facility)
        if "name" in entries or not sender_keys:
            self._check_name(node, name)
        return FeedProfile(
            name=name,
            zone=zone,
            sending_application=application,
            sending_facility=facility,
            authority=self._authority(entries),
            facilities=self._facilities(entries.get("facilities"), zone),
            classes=self._words(entries.get("classes"), "`classes`", self._class_word),
            dispositions=self._words(entries.get("dispositions"), "`dispositions`", self._disposition),
            processing=self._processing(entries.get("processing")),
            charset=self._charset(entries.get("charset")),
            certificates=self._certificates(entries.get("certificates")),
        )

    def _require(self, entries: _Entries, node: yaml.Node, what: str, keys: tuple[str, ...]) -> None:
        for key in keys:
            if key not in entries:
                self.nodes.refuse(node, f"{what} has no {key!r}")

    def _check_name(self, node: yaml.Node, name: str) -> None:
        if (line := self._names.get(fold(name))) is not None:
            self.nodes.refuse(node, f"the name {name!r} is already that of the feed on line {line}")
        self._names[fold(name)] = line_of(node)

    def _check_sender(self, node: yaml.Node, application: str | None, facility: str | None) -> None:
        key = sender_key(application, facility)
        if (line := self._senders.get(key)) is not None:
            self.nodes.refuse(node, f"this feed names the same sender as the feed on line {line}")
        self._senders[key] = line_of(node)

    def _facilities(self, node: yaml.Node | None, feed_zone: ZoneInfo) -> MappingProxyType[str, FacilityProfile]:
        facilities: dict[str, FacilityProfile] = {}
        for code, value in self.nodes.table(node, "`facilities`").items() if node is not None else ():
            entries = self.nodes.record(value, f"facility {code!r}", _FACILITY_KEYS) or {}
            facilities[fold(code)] = FacilityProfile(
                code=code,
                name=self._text(entries, "name"),
                zone=self._zone(entries["zone"]) if "zone" in entries else feed_zone,
                authority=self._authority(entries),
            )
        return MappingProxyType(facilities)

    def _words(self, node: yaml.Node | None, what: str, read: Callable[[yaml.Node], str]) -> MappingProxyType[str, str]:
        table = self.nodes.table(node, what) if node is not None else {}
        return MappingProxyType({fold(raw): read(value) for raw, value in table.items()})

    def _class_word(self, node: yaml.Node) -> str:
        word = self.nodes.text(node, "a class") or ""
        if word and word not in CLASS_WORDS:
            self.nodes.refuse(node, f"class {word!r} is not one of: {', '.join(sorted(CLASS_WORDS))}")
        return word

    def _disposition(self, node: yaml.Node) -> str:
        code = self.nodes.text(node, "a disposition") or ""
        if code and not _DISPOSITION.fullmatch(code):
            self.nodes.refuse(node, f"disposition {code!r} is not a two-digit code of NUBC FL 17, such as 01")
        return code

    def _processing(self, node: yaml.Node | None) -> frozenset[tuple[str, str]]:
        if node is None:
            return PROCESSING
        admitted: set[tuple[str, str]] = set()
        for item in self.nodes.sequence(node, "`processing`"):
            text = self.nodes.text(item, "a processing id")
            entry = _PROCESSING.fullmatch(text or "")
            if entry is not None:
                # Table 0207: current processing (T) is what no mode means.
                admitted |= {(entry[1], mode) for mode in ((entry[2],) if entry[2] else ("", "T"))}
            elif text is not None:
                self.nodes.refuse(item, f"processing {text!r} is none of P, T and D, nor one with a mode such as P^I")
        return frozenset(admitted)

    def _charset(self, node: yaml.Node | None) -> str | None:
        label = self.nodes.text(node, "`charset`") if node is not None else None
        if node is not None and label is not None and not self._is_charset(label):
            self.nodes.refuse(node, f"charset {label!r} is not known; HL7 table 0211 has the names, as UNICODE UTF-8")
        return label

    def _certificates(self, node: yaml.Node | None) -> frozenset[str]:
        names: set[str] = set()
        items = self.nodes.sequence(node, "`certificates`") if node is not None else []
        if node is not None and isinstance(node, yaml.SequenceNode) and not items:
            self.nodes.refuse(node, "`certificates` is empty, and nobody could send: leave it out, or list one")
        for item in items:
            text = self.nodes.text(item, "a certificate")
            name = certificate_name(text) if text is not None else None
            if text is not None and name is None:
                self.nodes.refuse(
                    item,
                    f"certificate {text!r} is not dns:, uri: or cn: with a whole name, nor sha256: with 64 digits",
                )
            elif name is not None:
                names.add(name)
        return frozenset(names)

    def _zone(self, node: yaml.Node | None) -> ZoneInfo:
        """Return the zone; where it is wrong or missing, which is noted, any."""
        name = self.nodes.text(node, "`zone`") if node is not None else None
        if node is not None and name is not None:
            try:
                if _ZONE.fullmatch(name):
                    return ZoneInfo(name)
            except (KeyError, ValueError, OSError):  # not found, not a name, or the name of a folder
                pass
            self.nodes.refuse(node, f"zone {name!r} is not an IANA time zone, such as America/New_York")
        return ZoneInfo("UTC")

    def _authority(self, entries: _Entries) -> str | None:
        text = self._text(entries, "authority")
        return None if text is None else fold(text)

    def _text(self, entries: _Entries, key: str) -> str | None:
        return self.nodes.text(entries[key], f"`{key}`") if key in entries else None
