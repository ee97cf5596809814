"""The hospitals of the simulation: how each of them writes HL7, and the feeds file that describes them.

Owns the differences between senders that a receiver must be told or must bear (domain.md §2.2 and §2.4): zones with
and without UTC offsets, local words for class and disposition, record numbers with and without authority, visits with
and without a number, letter case, accents, charsets and telephone formats. Promise: `feeds_yaml` says all of it that
a feed profile can say, and nothing about the sender that is left unlisted on purpose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import yaml

Spelling = Literal["as-is", "upper", "bare"]
"""How a hospital keys in text: as it is, in ASCII capitals, or in ASCII capitals without punctuation."""
PhoneFormat = Literal["(999)999-9999", "999-999-9999", "9999999999", "components"]

Offsets = Literal["none", "local", "utc"]

UNMAPPED_CLASS: Final = "QX"
"""A local class word that no feed profile maps."""
UNMAPPED_DISPOSITION: Final = "ZZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A building with beds; `stated_in` is the field that names it to the receiver."""

    code: str
    name: str
    zone: str
    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """One sender with its sites and its habits."""

    feed: str
    application: str
    facility: str
    """MSH-4."""
    zone: str
    version: str
    sites: tuple[Site, ...]
    classes: Mapping[str, str]
    """From HL7 v3 ActCode to the local word."""
    dispositions: Mapping[str, str]
    """From NUBC codes to local words; a code that is not there is written as it is."""
    control_prefix: str
    charset: Literal["", "UNICODE UTF-8", "8859/1"] = ""
    """MSH-18; empty means ASCII."""
    spelling: Spelling = "upper"
    phones: PhoneFormat = "(999)999-9999"
    offsets: Offsets = "none"
    """Whether times carry a UTC offset: their own, or none because all are turned into UTC first (+0000)."""
    seconds: bool = True
    """Whether times of admission and discharge have seconds; MSH-7 always does."""
    event_times: bool = True
    """Whether EVN-6 is written."""
    visit_numbers: bool = True
    states_authority: bool = True
    """Whether PID-3.4 is written."""
    states_site: bool = True
    """Whether PV1-3.4 (and EVN-7 from 2.5) name the site; MSH-4 does it otherwise."""
    leading_zeros: bool = True
    """Whether 01 is written as 01."""
    listed: bool = True
    """Whether the feeds file knows the sender."""

    def class_word(self, act_code: str) -> str:
        """Return the local word for a class; what is none of our words stays as it is."""
        return self.classes.get(act_code, act_code)

    def disposition_word(self, code: str) -> str:
        """Return the local word for a NUBC code."""
        word = self.dispositions.get(code, code)
        return word if self.leading_zeros else word.removeprefix("0")

    @property
    def later_than_2_4(self) -> bool:
        """Whether the version has what 2.5 added."""
        return self.version >= "2.5"


MERCY: Final = Hospital(
    feed="mercy",
    application="EPICADT",
    facility="MERCY",
    zone="America/New_York",
    version="2.5.1",
    sites=(Site(code="MERCY", name="Mercy General Hospital", zone="America/New_York", authority="MERCY"),),
    classes={"IMP": "I", "OBSENC": "V", "EMER": "E", "AMB": "O", "PRENC": "P"},
    dispositions={},
    control_prefix="MSG",
)
LAKESIDE: Final = Hospital(
    feed="lakeside",
    application="CERNER",
    facility="LAKESIDE_MC",
    zone="America/Chicago",
    version="2.3",
    sites=(Site(code="LMC", name="Lakeside Medical Center", zone="America/Chicago", authority="LMC"),),
    classes={"IMP": "INP", "OBSENC": "OBSV", "EMER": "ER", "AMB": "CLIN", "PRENC": "PRE"},
    dispositions={
        "01": "HOME", "02": "ACUTE", "03": "SNF", "04": "ICF", "05": "CANCERCTR", "06": "HHA", "07": "AMA",
        "09": "ADMHERE", "20": "EXP", "21": "COURT", "30": "STILL", "41": "EXPHOSP", "50": "HOSPHOME", "51": "HOSPFAC",
        "61": "SWING", "62": "REHAB", "63": "LTCH", "64": "MCDNF", "65": "PSYCH", "66": "CAH", "81": "HOMEPLAN",
    },
    control_prefix="",
    charset="UNICODE UTF-8",
    spelling="as-is",
    phones="components",
    offsets="local",
    event_times=False,
)  # fmt: skip
SONORA: Final = Hospital(
    feed="sonora",
    application="MEDITECH",
    facility="SONORA",
    zone="America/Phoenix",
    version="2.4",
    sites=(Site(code="SONORA", name="Sonora Valley Hospital", zone="America/Phoenix", authority="SVH"),),
    classes={"IMP": "I", "OBSENC": "OBS", "EMER": "E", "AMB": "O", "PRENC": "P"},
    dispositions={},
    control_prefix="SV-",
    charset="8859/1",
    spelling="as-is",
    phones="999-999-9999",
    seconds=False,
    visit_numbers=False,
    states_authority=False,
    states_site=False,
    leading_zeros=False,
)
PRAIRIE: Final = Hospital(
    feed="prairie-hie",
    application="HUB",
    facility="PRAIRIEHIE",
    zone="America/Chicago",
    version="2.5",
    sites=(
        Site(code="FARGO", name="Fargo Community Hospital", zone="America/Chicago", authority="FCH"),
        Site(code="BILLINGS", name="Billings Mountain Hospital", zone="America/Denver", authority="BMH"),
    ),
    classes={"IMP": "IP", "OBSENC": "OB", "EMER": "ED", "AMB": "OP", "PRENC": "PA"},
    dispositions={},
    control_prefix="PH",
    spelling="bare",
    phones="9999999999",
    offsets="utc",
    states_authority=False,
)
UNLISTED: Final = Hospital(
    feed="unlisted",
    application="OLDADT",
    facility="HARBORVIEW",
    zone="America/New_York",
    version="2.3.1",
    sites=(Site(code="HARBORVIEW", name="Harborview Clinic", zone="America/New_York", authority="HVC"),),
    classes=MERCY.classes,
    dispositions={},
    control_prefix="HV",
    listed=False,
)
LISTED: Final = (MERCY, LAKESIDE, SONORA, PRAIRIE)
ALL: Final = (*LISTED, UNLISTED)


def feeds_yaml() -> str:
    """Return the feeds file that an operator would have written for the listed hospitals."""
    feeds = [_feed_entry(hospital) for hospital in LISTED]
    return yaml.dump({"feeds": feeds}, Dumper=_FeedsDumper, sort_keys=False, allow_unicode=True)


class _Code(str):
    """A code that stays quoted in YAML, where 09 without quotes is a number to some readers and text to others."""

    __slots__ = ()


class _FeedsDumper(yaml.SafeDumper):
    """Writes what `yaml.SafeDumper` writes, and codes in quotes."""


def _quoted(dumper: yaml.SafeDumper, code: _Code) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(code), style='"')


_FeedsDumper.add_representer(_Code, _quoted)


def _feed_entry(hospital: Hospital) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": hospital.feed,
        "sending_application": hospital.application,
        "sending_facility": hospital.facility,
        "authority": hospital.sites[0].authority,
        "zone": hospital.zone,
        "facilities": {
            site.code: {"name": site.name, "zone": site.zone, "authority": site.authority} for site in hospital.sites
        },
        "classes": {word: code for code, word in hospital.classes.items()},
        "processing": ["P"],
    }
    if hospital.dispositions:
        entry["dispositions"] = {word: _Code(code) for code, word in hospital.dispositions.items()}
    return entry
