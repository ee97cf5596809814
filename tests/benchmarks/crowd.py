"""A town of people who do not exist, all on one panel, and the hospital that sends of them.

A message has the size and the segments of a real one, about 1.4 KB: fourteen segments, three identifiers, next of kin,
guarantor and insurance. Everyone differs in everything that matching looks at.
"""

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

ZONE: Final = ZoneInfo("America/New_York")
FEEDS: Final = """\
feeds:
  - name: mercy
    sending_facility: MERCY
    authority: MERCY
    zone: America/New_York
    facilities:
      MERCY:
        name: Mercy General Hospital
"""
PANEL_PEOPLE: Final = 10_000
_COLUMNS = "patient_id,family,given,birth_date,sex,street,city,state,zip,phone,pcp,practice,identifiers"
_FAMILIES = (
    "Abernathy", "Brightwater", "Castellanos", "Dunmore", "Everhart", "Fairweather", "Goldsworthy", "Hollingsworth",
    "Inglewood", "Jessamine", "Kettlewell", "Lightbourne", "Merriweather", "Nightingale", "Ockleford", "Pemberton",
    "Quennell", "Ravenscroft", "Silverthorne", "Tattersall", "Underhill", "Valderrama", "Whitcombe", "Yarborough",
)  # fmt: skip
_ENDINGS = ("", "son", "field", "ley", "worth", "man", "ton")
_GIVEN = ("Ines", "Marcus", "Odalys", "Theodore", "Priya", "Walter", "Noor", "Ezra", "Lucille", "Hector", "Maeve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody on the panel, in hospital once: in for three days, out this morning."""

    number: int

    @property
    def patient_id(self) -> str:
        return f"P{self.number:06d}"

    @property
    def family(self) -> str:
        return _FAMILIES[self.number % len(_FAMILIES)] + _ENDINGS[self.number // len(_FAMILIES) % len(_ENDINGS)]

    @property
    def given(self) -> str:
        return _GIVEN[self.number % len(_GIVEN)]

    @property
    def born(self) -> date:
        return date(1931, 1, 1) + timedelta(days=self.number * 7 % 18_000)

    @property
    def mrn(self) -> str:
        return f"{7_000_000 + self.number}"

    @property
    def phone(self) -> str:
        return f"217{2_000_000 + self.number}"

    @property
    def panel_row(self) -> str:
        return (
            f"{self.patient_id},{self.family},{self.given},{self.born},F,{self.number} Oak Street,Springfield,IL,62701,"
            f"{self.phone},Okafor,Elm Street Practice,{self.mrn}^^^MERCY^MR"
        )


@functools.cache
def people(count: int, first: int = 1) -> tuple[Person, ...]:
    """Return different people."""
    return tuple(Person(number=first + place) for place in range(count))


def panel_csv(count: int = PANEL_PEOPLE) -> str:
    """Return the panel file of the first so many."""
    return "\n".join([_COLUMNS, *(person.panel_row for person in people(count)), ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a message says beside who it is about."""

    trigger: str
    sent_at: datetime
    control_id: str
    bed: int = 1
    disposition: str = "01"
    left_minutes_ago: int = 60


def message(person: Person, told: Told, today: datetime) -> bytes:
    """Return one message: an admission three days before `today`; in an A03 the discharge, an hour or so before it."""
    sent = _hl7_time(told.sent_at)
    admitted = _hl7_time(today - timedelta(days=3))
    gone = told.trigger == "A03"
    left = _hl7_time(today - timedelta(minutes=told.left_minutes_ago)) if gone else ""
    occurred = left if gone else admitted if told.trigger == "A01" else ""
    name, street = f"{person.family.upper()}^{person.given.upper()}^M", f"{person.number} OAK STREET^^SPRINGFIELD^IL"
    segments = (
        f"MSH|^~\\&|ADT1|MERCY|AFTERSTAY|ELMSTREET|{sent}||ADT^{told.trigger}^ADT_A01|{told.control_id}|P|2.5.1|||AL|NE",
        f"EVN|{told.trigger}|{sent}|||RN4471^HOLLIS^PATRICIA|{occurred}",
        (
            f"PID|1||{person.mrn}^^^MERCY^MR~{person.number + 300_000}^^^MERCY^PI~9{person.number:08d}^^^USSSA^SS"
            f"||{name}^^^^L|DUNN^MARY|{person.born:%Y%m%d}|F||2106-3^White^CDCREC|{street}^62701^USA^H|SANGAMON|"
            f"({person.phone[:3]}){person.phone[3:6]}-{person.phone[6:]}^PRN^PH|(217)555-0199^WPN^PH|en^English^ISO639|M|CHR|"
            f"40{person.number:07d}^^^MERCY^AN"
        ),
        "PD1|||ELM STREET PRACTICE^^4410|1093817465^OKAFOR^CHIDI^^^DR^^^NPI",
        f"NK1|1|{person.family.upper()}^JORDAN^K|SPO^Spouse^HL70063|{street}^62701^USA|(217)555-0123^PRN^PH|||C^Emergency",
        (
            f"PV1|1|I|4W^{400 + told.bed}^{told.bed % 4 + 1}^MERCY|U|||1093817465^OKAFOR^CHIDI^^^DR^^^NPI|"
            "1750384806^NGUYEN^LINH^^^DR^^^NPI||MED||||7|A0||1093817465^OKAFOR^CHIDI^^^DR^^^NPI|INP|"
            f"{880_000 + person.number}^^^MERCY^VN|MCR||||||||||||||||{told.disposition if gone else ''}|||MERCY||||"
            f"|{admitted}|{left}"
        ),
        "PV2|||R07.9^Chest pain, unspecified^I10||||||||3|Observation for chest pain",
        f"DG1|1||I50.9^Heart failure, unspecified^I10||{admitted}|A",
        f"DG1|2||E11.9^Type 2 diabetes mellitus without complications^I10||{admitted}|W",
        "AL1|1|DA|70618^Penicillin^RXNORM|MO|Hives",
        "AL1|2|FA|256349002^Peanut^SCT|SV|Swelling",
        "OBX|1|NM|8302-2^Body height^LN||168|cm|||||F",
        f"GT1|1||{name}||{street}^62701^USA|(217)555-0142^PRN^PH|||||SEL",
        f"IN1|1|MCR^Medicare|04412|MEDICARE PART A|PO BOX 1000^^CHICAGO^IL^60601||||||||||||{name}|SEL",
    )
    return ("\r".join(segments) + "\r").encode("ascii")


def _hl7_time(moment: datetime) -> str:
    """Write local time, without an offset, as most senders do."""
    return moment.astimezone(ZONE).strftime("%Y%m%d%H%M%S")


def now() -> datetime:
    """Return the moment that the messages of a run speak of; to the second, as HL7 writes it."""
    return datetime.now(UTC).replace(microsecond=0)
