"""From what a hospital says to the bytes that it sends.

Owns the order of segments per message structure and version. Promise: the same draft and control id give the same
bytes; segments end with CR; the charset is the one that MSH-18 declares. Source: HL7 v2.5.1 ch. 3.3 (ADT), ch. 7.3
(ORU), ch. 10.4 (SIU), and the same chapters of 2.3 to 2.5.
"""

from typing import Final
from zoneinfo import ZoneInfo

from services.simulator.hl7_segments import SegmentWriter
from services.simulator.hl7_text import encoded
from services.simulator.statements import Draft
from services.simulator.wall_time import WallClock

_FULL: Final = ("pid", "pd1", "nk1", "pv1", "pv2", "al1", "dg1", "gt1", "in1")
_SHORT: Final = ("pid", "pd1", "pv1", "pv2")
_LAYOUTS: Final[dict[str, tuple[str, ...]]] = {
    "ADT_A01": _FULL,
    "ADT_A02": _SHORT,
    "ADT_A03": _FULL,
    "ADT_A05": _FULL,
    "ADT_A06": _FULL,
    "ADT_A09": (*_SHORT, "dg1"),
    "ADT_A12": (*_SHORT, "dg1"),
    "ADT_A39": ("pid", "pd1", "mrg"),
    "ADT_A54": _SHORT,
}
_OLD_A03: Final = (*_SHORT, "dg1")
"""A03 had neither next of kin nor insurance before 2.5."""


def write_message(draft: Draft, control_id: str, *, feed_zone: ZoneInfo, site_clock: WallClock) -> bytes:
    """Return the message as the hospital would send it, without MLLP framing."""
    writer = SegmentWriter(draft, feed_zone=feed_zone, site_clock=site_clock)
    lines = [writer.msh(control_id), *_body(draft, writer)]
    return encoded("".join(f"{line}\r" for line in lines), draft.hospital)


def _body(draft: Draft, writer: SegmentWriter) -> list[str]:
    if draft.message_type == "ORU":
        return [writer.pid(), writer.pv1(), *_RESULT]
    if draft.message_type == "SIU":
        return [_APPOINTMENT, writer.pid(), writer.pv1(), *_RESOURCES]
    structure = writer.structure()
    layout = _LAYOUTS[structure]
    if structure == "ADT_A03" and not draft.hospital.later_than_2_4:
        layout = _OLD_A03
    write = {
        "pid": writer.pid, "pd1": writer.pd1, "nk1": writer.nk1, "pv1": writer.pv1, "pv2": writer.pv2,
        "al1": writer.al1, "dg1": writer.dg1, "gt1": writer.gt1, "in1": writer.in1, "mrg": writer.mrg,
    }  # fmt: skip
    own = [writer.zpd()] if draft.hospital.visit_numbers and structure == "ADT_A01" else []
    return [writer.evn(), *(write[name]() for name in layout), *own]


_RESULT: Final = (
    "OBR|1||LAB55120|58410-2^CBC panel^LN",
    "OBX|1|NM|718-7^Hemoglobin^LN||11.9|g/dL|12.0-16.0|L|||F",
    "OBX|2|NM|777-3^Platelets^LN||241|10*3/uL|150-400|N|||F",
)
_APPOINTMENT: Final = (
    "SCH|AP4471|AP4471||||FOLLOWUP^Follow-up visit|||30|min|^^30|||||C118^DESK^FRONT||||C118^DESK^FRONT"
)
_RESOURCES: Final = ("RGS|1", "AIL|1||CLINIC^ROOM 4|C^Clinic")
