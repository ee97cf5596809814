"""People on the panel of a running service, a hospital that sends of them, and the moments it speaks of.

Every test has people of its own, so that tests share a service and do not meet. Nobody here exists.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.support.adt import adt

ZONE = ZoneInfo("America/New_York")
FEED = """\
feeds:
  - name: mercy
    sending_facility: MERCY
    authority: MERCY
    zone: America/New_York
    facilities:
      MERCY:
        name: Mercy General Hospital
"""
FEEDS_WITH_DEFAULT = f"""{FEED}
default:
  zone: America/Chicago
  authority: ELSEWHERE
"""
_COLUMNS = "patient_id,family,given,birth_date,sex,street,city,state,zip,phone,identifiers"
_FAMILIES = (
    "Abernathy", "Brightwater", "Castellanos", "Dunmore", "Everhart", "Fairweather", "Goldsworthy", "Hollingsworth",
    "Inglewood", "Jessamine", "Kettlewell", "Lightbourne", "Merriweather", "Nightingale", "Ockleford", "Pemberton",
    "Quennell", "Ravenscroft", "Silverthorne", "Tattersall", "Underhill", "Valderrama", "Whitcombe", "Yarborough",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody on the panel, in a hospital once: in for two days, out an hour ago."""

    number: int
    family: str
    born: date
    given: str = "Ines"

    @property
    def patient_id(self) -> str:
        """The panel's number."""
        return f"P{self.number}"

    @property
    def mrn(self) -> str:
        """The hospital's number."""
        return f"{70_000 + self.number}"

    @property
    def phone(self) -> str:
        """A telephone number."""
        return f"217{4_400_000 + self.number}"

    @property
    def panel_row(self) -> str:
        """The line of the panel file."""
        return (
            f"{self.patient_id},{self.family},{self.given},{self.born},F,{self.number} Oak Street,Springfield,IL,62701,"
            f"{self.phone},{self.mrn}^^^MERCY^MR"
        )

    def says(self, event: str, hours_ago: float = 0, /, *, control_id: str, **fields: str) -> bytes:
        """Return a message about the stay, sent so many hours before now."""
        now = datetime.now(UTC)
        sent = hl7_time(now - timedelta(hours=hours_ago))
        return adt(
            event,
            **{
                "sent": sent,
                "control_id": control_id,
                "admitted": hl7_time(now - timedelta(days=2)),
                "number": f"V{self.number}",
                "mrn": f"{self.mrn}^^^MERCY^MR",
                "name": f"{self.family.upper()}^{self.given.upper()}",
                "birth_date": f"{self.born:%Y%m%d}",
                "street": f"{self.number} OAK STREET^^SPRINGFIELD^IL^62701",
                "phone": self.phone,
                **fields,
            },
        )

    def admitted(self, *, control_id: str, **fields: str) -> bytes:
        """Return the admission."""
        return self.says("A01", 48, control_id=control_id, **fields)

    def discharged(self, *, control_id: str, **fields: str) -> bytes:
        """Return the discharge, home, an hour ago."""
        left = hl7_time(datetime.now(UTC) - timedelta(hours=1))
        return self.says("A03", control_id=control_id, **{"discharged": left, "disposition": "01"} | fields)


def people(first: int, count: int = len(_FAMILIES)) -> list[Person]:
    """Return different people, numbered from `first`."""
    return [
        Person(number=first + place, family=_FAMILIES[place], born=date(1940, 1, 15) + timedelta(days=397 * place))
        for place in range(count)
    ]


def panel_of(*someone: Person) -> str:
    """Return the panel file of these people."""
    return "\n".join([_COLUMNS, *(person.panel_row for person in someone), ""])


def hl7_time(moment: datetime) -> str:
    """Return a moment as HL7 writes it at the hospital, with its offset: no hour is ever ambiguous."""
    return moment.astimezone(ZONE).strftime("%Y%m%d%H%M%S%z")
