"""Builds ADT messages for tests: the few fields that stories speak of, everything else left out."""

from collections.abc import Mapping
from typing import Any

FIELDS = {
    "number": "V1001",
    "mrn": "1001^^^MERCY^MR",
    "name": "RIVERA^ANA^M",
    "birth_date": "19520314",
    "sex": "F",
    "street": "12 OAK ST^^SPRINGFIELD^IL^62701",
    "phone": "2175550142",
    "class": "I",
    "facility": "MERCY",
}


def adt(
    event: str,
    *,
    sent: str,
    control_id: str,
    occurred: str = "",
    recorded: str | None = None,
    admitted: str = "",
    discharged: str = "",
    disposition: str = "",
    processing: str = "P",
    death: str = "",
    zbe: str = "",
    **fields: Any,
) -> bytes:
    """Return one ADT message; times are HL7 text (``20261120091500``)."""
    values: Mapping[str, Any] = FIELDS | fields
    pv1 = [""] * 46
    pv1[0] = "PV1"
    pv1[2] = values["class"]
    pv1[3] = f"4W^401^1^{values['facility']}"
    pv1[19] = values["number"]
    pv1[36] = disposition
    pv1[44] = admitted
    pv1[45] = discharged
    pid = [""] * 31
    pid[0] = "PID"
    pid[3] = values["mrn"]
    pid[5] = values["name"]
    pid[7] = values["birth_date"]
    pid[8] = values["sex"]
    pid[11] = values["street"]
    pid[13] = values["phone"]
    pid[30] = death
    segments = [
        f"MSH|^~\\&|EPIC|{values['facility']}|AFTERSTAY|CLINIC|{sent}||ADT^{event}|{control_id}|{processing}|2.5",
        f"EVN|{event}|{sent if recorded is None else recorded}||||{occurred}",
        "|".join(pid).rstrip("|"),
        "|".join(pv1).rstrip("|"),
    ]
    if zbe:
        segments.append(f"ZBE|{zbe}")
    return ("\r".join(segments) + "\r").encode()
