"""What one message states about one stay, and when it was stated.

*Statement order* (DESIGN §1) is when a sender said something: (MSH-7 sent, EVN-2 recorded, trigger rank, control id in
natural order, event id). It decides between contradicting statements. When something happened is content and never
order; when we received it decides nothing, and is kept only because `learned_at` is a minimum over it.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.followup.domain.times import StatedTime

_DIGITS: Final = re.compile(r"\d+")
_DIGIT_WIDTH: Final = 20  # MSH-10 holds at most 20 characters up to v2.7 (199 later): wider runs still compare as text

_RANKS: Final = {
    "A05": 0, "A04": 1, "A01": 2, "A02": 3, "A06": 3, "A07": 3, "A08": 4, "A03": 5, "A11": 6, "A12": 6, "A13": 6,
}  # fmt: skip
"""At one instant a cancel follows its target, and a snapshot stands between admission and discharge."""


class Order(NamedTuple):
    """Position of a statement among all statements; compares as a tuple."""

    sent_us: int
    recorded_us: int
    rank: int
    control: str
    event_id: str


def statement_order(*, sent_us: int, recorded_us: int, trigger: str, control_id: str, event_id: str) -> Order:
    """Build an `Order`; runs of digits in the control id compare as numbers (``MSG9`` before ``MSG10``)."""
    natural = _DIGITS.sub(lambda run: run.group().zfill(_DIGIT_WIDTH), control_id)
    return Order(sent_us, recorded_us, _RANKS.get(trigger, 4), natural, event_id)


NAME_CHARS_MAX: Final = 250
"""Of a number or key that names something; real ones have at most some dozens (CX.1, PV1-19 and MSH-10: 20 to 199).
Two of this many four-byte characters fit into an entry of PostgreSQL's indexes (2,704 bytes)."""
_DIGEST_BYTES: Final = 16


def bounded(name: str) -> str:
    """Return a number or key as it is or, where no index could hold it, its beginning with a digest of it."""
    if len(name) <= NAME_CHARS_MAX:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{name[: NAME_CHARS_MAX - 2 * _DIGEST_BYTES - 1]}~{digest}"


IDENTIFIER_FIELD: Final = "id\t"
"""A field of this prefix, authority and type (packed) holds the identifiers of one slot, packed."""


def pack(*parts: str | None) -> str:
    """Pack the parts of a structured field into one line of joined state; empty and absent parts are one."""
    line = "\t".join([part or "" for part in parts])
    if line.count("\t") == len(parts) - 1 and "\n" not in line:  # nearly always, and four times as fast
        return line
    return "\t".join((part or "").replace("\t", " ").replace("\n", " ") for part in parts)


def unpack(line: str, width: int) -> tuple[str | None, ...]:
    """Return the ``width`` parts of a packed line."""
    parts = line.split("\t")
    return tuple(part or None for part in (*parts, *[""] * (width - len(parts)))[:width])


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One message about one stay, reduced to what the stay's state needs.

    `fields` holds what the snapshot says, by field name (`domain.fragments` lists them); a value of `None` is HL7's
    explicit null. Times are as written. `admitted` says whether the feed lets this message make tasks (MSH-11).
    """

    order: Order
    received_us: int
    admitted: bool
    trigger: str
    source_key: str
    visit_authority: str | None = None
    visit_number: str | None = None
    facility_code: str
    zone: str
    admit_time: StatedTime | None = None
    """PV1-44."""
    discharge_time: StatedTime | None = None
    """PV1-45."""
    discharge_deleted: bool = False
    """PV1-45 was the explicit null."""
    event_time: StatedTime | None = None
    """EVN-6."""
    recorded_time: StatedTime
    """EVN-2, else MSH-7: always known."""
    movement_id: str | None = None
    """ZBE-1."""
    fields: dict[str, str | None]

    @property
    def occurred(self) -> StatedTime:
        """When the stated movement happened: PV1-44 for A01, A04 and A05, else EVN-6, else EVN-2, else MSH-7."""
        if self.admit_time is not None and self.trigger in ("A01", "A04", "A05"):
            return self.admit_time
        return self.event_time or self.recorded_time
