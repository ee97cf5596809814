"""The segments of the messages that simulated hospitals send, each from what the hospital says.

Owns which field holds what. Source: HL7 v2.5.1 ch. 3.4 (EVN, PID, PD1, NK1, PV1, PV2, MRG), ch. 6.5 (DG1, IN1),
ch. 2.15 (MSH); the differences of 2.3 to 2.5 stand where they matter.
"""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from services.simulator.hl7_text import (
    Precision,
    components,
    escaped,
    repeated,
    segment,
    spelled,
    written_phone,
    written_time,
)
from services.simulator.hospitals import Hospital
from services.simulator.statements import NULL, Draft
from services.simulator.wall_time import WallClock

_STRUCTURES: Final = {
    "A04": "ADT_A01", "A07": "ADT_A06", "A08": "ADT_A01", "A11": "ADT_A09", "A13": "ADT_A01", "A28": "ADT_A05",
    "A31": "ADT_A05", "A40": "ADT_A39", "A54": "ADT_A54", "A12": "ADT_A12",
}  # fmt: skip
_LANGUAGES: Final = {"en": "English", "es": "Spanish", "vi": "Vietnamese", "ar": "Arabic"}
_MARITAL: Final = ("S", "M", "D", "W")


class SegmentWriter:
    """Writes the segments of one draft; MSH-7 in the feed's zone as it is, everything else by the site's clock."""

    def __init__(self, draft: Draft, *, feed_zone: ZoneInfo, site_clock: WallClock) -> None:
        self._draft = draft
        self._hospital: Hospital = draft.hospital
        self._snapshot = draft.snapshot
        self._patient = draft.snapshot.registration
        self._person = draft.snapshot.registration.person
        self._feed_zone = feed_zone
        self._site_clock = site_clock

    def structure(self) -> str:
        """Return the message structure (MSH-9.3, table 0354)."""
        if self._draft.message_type != "ADT":
            return f"{self._draft.message_type}_{self._draft.trigger}"
        return _STRUCTURES.get(self._draft.trigger, f"ADT_{self._draft.trigger}")

    def msh(self, control_id: str) -> str:
        """Write MSH; its third component of MSH-9 came with 2.3.1, senders use it from 2.4."""
        draft, hospital = self._draft, self._hospital
        sent = written_time(draft.sent.astimezone(self._feed_zone), "second", hospital)
        message = components(draft.message_type, draft.trigger, self.structure() if hospital.version >= "2.4" else "")
        fields = [
            "MSH", "^~\\&", hospital.application, hospital.facility, "AFTERSTAY", "PRACTICE", sent, "", message,
            control_id, self._snapshot.processing, hospital.version,
        ]  # fmt: skip
        if hospital.later_than_2_4:
            fields += ["", "", "AL", "NE", "USA"]
        else:
            fields += [""] * 5 if hospital.charset else []
        return "|".join([*fields, hospital.charset]).rstrip("|")

    def evn(self) -> str:
        """Write EVN; EVN-7 came with 2.5."""
        draft = self._draft
        fields = {1: draft.trigger, 2: self._time(draft.recorded, "second"), 5: "REG04^REGISTRAR^PAT"}
        if draft.occurred is not None:
            fields[6] = self._time(draft.occurred)
        if self._hospital.later_than_2_4 and self._hospital.states_site:
            fields[7] = self._snapshot.site.code
        return segment("EVN", fields)

    def pid(self) -> str:
        """Write PID."""
        person, patient, hospital = self._person, self._patient, self._hospital
        phone = patient.placeholder_phone or person.phone
        fields = {
            1: "1",
            3: repeated([self._identifier(patient.record_number), self._mbi()]),
            5: components(*(spelled(part, hospital) for part in self._name_parts()), "", "", "L"),
            7: person.birth_date.strftime("%Y%m%d") if patient.shows_birth_date else "",
            8: person.sex,
            11: components(
                spelled(person.street, hospital),
                "",
                spelled(person.city, hospital),
                person.state,
                person.zip,
                "USA",
                "H",
            ),
            13: written_phone(phone, hospital) if phone else "",
            15: components(person.language.upper(), _LANGUAGES[person.language], "HL70296"),
            16: _MARITAL[person.birth_date.day % 4] if not person.minor else "S",
            10: "2106-3^White^HL70005" if hospital.later_than_2_4 else "W",
            17: "NOP",
            18: components(f"A{patient.record_number}", "", "", self._authority(), "AN"),
            22: "N" if person.language != "es" else "H",
            19: patient.placeholder_ssn or (self._ssn(person.ssn4) if patient.shows_ssn4 else ""),
        }
        if patient.died_at is not None:
            fields |= {29: self._time(patient.died_at), 30: "Y"}
        return segment("PID", fields)

    def pd1(self) -> str:
        """Write PD1 with the primary care provider."""
        return segment("PD1", {3: "PLAINS FAMILY MEDICINE^L^PFM", 4: "PC2041^HALVORSEN^INGRID^^^DR"})

    def nk1(self) -> str:
        """Write NK1 with the person to call."""
        kin = self._person.kin
        return segment(
            "NK1",
            {
                1: "1",
                2: components(spelled(kin.family, self._hospital), spelled(kin.given, self._hospital)),
                3: kin.relation,
                4: self._address(),
                5: written_phone(kin.phone, self._hospital),
                7: "N",
            },
        )

    def pv1(self) -> str:
        """Write PV1."""
        snapshot, hospital = self._snapshot, self._hospital
        bed = snapshot.bed
        site = snapshot.site.code if hospital.states_site else ""
        fields = {
            1: "1",
            2: hospital.class_word(snapshot.act_class),
            3: components(bed.unit, bed.room, bed.bed, site),
            4: "E" if snapshot.act_class == "EMER" else "R",
            7: snapshot.attending,
            8: "RF118^OYELARAN^FOLA^^^DR",
            9: "D5518^BRANDT^ELKE^^^DR~D6120^SINGH^HARPREET^K^^DR",
            10: "MED",
            14: "7" if snapshot.act_class == "EMER" else "1",
            17: snapshot.attending,
            18: hospital.class_word(snapshot.act_class),
            20: "MEDICARE" if self._person.mbi else "COMMERCIAL",
            36: hospital.disposition_word(snapshot.disposition),
            39: site,
            44: self._time(snapshot.admitted) if snapshot.admitted else "",
            45: self._discharge_time(),
        }
        if snapshot.visit_number:
            fields[19] = components(snapshot.visit_number, "", "", self._authority(), "VN")
        return segment("PV1", {number: text for number, text in fields.items() if text})

    def pv2(self) -> str:
        """Write PV2 with the reason and, where there is one, the expected discharge."""
        snapshot = self._snapshot
        fields = {3: components("", escaped(snapshot.reason))}
        if snapshot.expected_discharge is not None:
            fields[9] = self._time(snapshot.expected_discharge)
        return segment("PV2", fields)

    def dg1(self) -> str:
        """Write DG1 with the admitting diagnosis, or the final one once there is a discharge."""
        code, text = self._snapshot.diagnosis
        final = isinstance(self._snapshot.discharged, datetime)
        at = self._time(self._draft.recorded)
        return segment("DG1", {1: "1", 3: components(code, escaped(text), "I10"), 5: at, 6: "F" if final else "A"})

    def al1(self) -> str:
        """Write AL1 with an allergy."""
        return segment("AL1", {1: "1", 2: "DA", 3: "70618^Penicillin^RXNORM", 4: "MO", 5: "hives"})

    def gt1(self) -> str:
        """Write GT1 with who pays: the patient, or for a minor the parent."""
        kin, minor = self._person.kin, self._person.minor
        parent = components(spelled(kin.family, self._hospital), spelled(kin.given, self._hospital))
        fields = {1: "1", 3: parent if minor else self._own_name(), 5: self._address()}
        if minor:
            fields[6] = written_phone(kin.phone, self._hospital)
        return segment("GT1", {**fields, 11: kin.relation if minor else "SEL"})

    def in1(self) -> str:
        """Write IN1 with a plan."""
        medicare = bool(self._person.mbi)
        plan, name = ("MCR01", "MEDICARE PART A & B") if medicare else ("BX220", "PLAINS MUTUAL HEALTH & LIFE")
        fields = {
            1: "1",
            2: plan,
            3: f"C{plan}",
            4: escaped(name),
            5: "PO BOX 1170^^Bismarck^ND^58501^USA",
            8: "G00417",
            12: "20260101",
            15: "MC" if medicare else "COM",
            16: self._own_name(),
            17: "SEL",
            18: self._person.birth_date.strftime("%Y%m%d") if self._patient.shows_birth_date else "",
            19: self._address(),
        }
        return segment("IN1", fields)

    def mrg(self) -> str:
        """Write MRG with the number that is no longer used."""
        return segment("MRG", {1: self._identifier(self._draft.merged_number)})

    def zpd(self) -> str:
        """Write a segment of the sender's own, which a receiver must bear."""
        return segment("ZPD", {1: "WAYFINDER", 4: escaped("room clean & ready"), 9: "Y"})

    def _identifier(self, number: str) -> str:
        return components(number, "", "", self._authority(), "MR")

    def _authority(self) -> str:
        return self._snapshot.site.authority if self._hospital.states_authority else ""

    def _own_name(self) -> str:
        return components(spelled(self._person.family, self._hospital), spelled(self._person.given, self._hospital))

    def _address(self) -> str:
        person, hospital = self._person, self._hospital
        street, city = spelled(person.street, hospital), spelled(person.city, hospital)
        return components(street, "", city, person.state, person.zip, "USA", "H")

    def _mbi(self) -> str:
        person = self._person
        return components(person.mbi, "", "", "CMS", "MC") if self._patient.shows_mbi and person.mbi else ""

    def _ssn(self, ssn4: str) -> str:
        return f"XXX-XX-{ssn4}" if self._hospital.spelling == "upper" else ssn4

    def _name_parts(self) -> tuple[str, str, str, str]:
        return self._person.family, self._person.given, self._person.middle, self._person.suffix

    def _discharge_time(self) -> str:
        discharged = self._snapshot.discharged
        if discharged is None:
            return ""
        if not isinstance(discharged, datetime):
            return NULL
        return self._time(discharged, "day") if self._snapshot.discharge_is_day else self._time(discharged)

    def _time(self, moment: datetime, precision: Precision | None = None) -> str:
        chosen: Precision = precision or ("second" if self._hospital.seconds else "minute")
        return written_time(self._site_clock.show(moment), chosen, self._hospital)
