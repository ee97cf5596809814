"""No patient data in any log (house rule; faults.md §3 "Logs"; promise P8 says nothing of it, people's trust does).

Goal: what is planted in messages, good and bad, in a panel file and in requests is found in no line on standard error
of the service, at its most talkative, nor in what the commands say that show no patient. Method: unique names, record
numbers, birth dates, telephone numbers and addresses in every place where a sender could put them, then a search.

A control id (MSH-10) is logged by design: it is what sender and receiver have to talk about.
"""

import asyncio
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import httpx
import pytest

from services.ingest.mllp.frame import FRAME_BYTES_MAX
from tests.system.people import Person, panel_of
from tests.system.senders import Sender, exchange, framed
from tests.system.service import Service, afterstay, until

pytestmark = pytest.mark.system


class Planted(Person):
    """A person whose every detail is found nowhere else."""

    @property
    def mrn(self) -> str:
        return "88117722"

    @property
    def phone(self) -> str:
        return "2179047733"


FAMILY, GIVEN, STREET, SSN, NOTE = "Quillfeather", "Theodosia", "Snapdragon", "437829915", "fell off her velocipede"
PLANTED = Planted(number=990, family=FAMILY, given=GIVEN, born=date(1931, 12, 29))
WARD = "Snowdriftward"
"""Said in place of codes: commands show codes as sent, logs never do."""
MARKS = re.compile(
    rb"quillf[^ ]{1,8}ather|theodosia|snapdragon|velocipede|88117722|9047733|904-7733|437829915"
    rb"|19311229|1931-12-29|12/29/1931|q\x00u\x00i\x00l\x00l",
    re.IGNORECASE,
)
LOG_MARKS = re.compile(MARKS.pattern + b"|snowdriftward", re.IGNORECASE)


def good_messages() -> list[bytes]:
    """Return messages that become a task, a doubt, and a stay of nobody."""
    doubtful = replace(PLANTED, born=date(1931, 12, 28))
    stranger = replace(PLANTED, number=991, given=f"{GIVEN}ne")
    return [
        PLANTED.admitted(control_id="PRIVATE-1", street=f"1 {STREET.upper()} LN^^SPRINGFIELD^IL^62701"),
        PLANTED.discharged(control_id="PRIVATE-2"),
        doubtful.discharged(control_id="PRIVATE-3", number="V992"),
        stranger.discharged(control_id="PRIVATE-4", mrn=f"{PLANTED.mrn}9^^^MERCY^MR", number="V993"),
    ]


def odd_messages() -> list[bytes]:
    """Return messages that say it where it does not belong, or in bytes that are wrong."""
    name = f"{FAMILY}^{GIVEN}"
    plain = PLANTED.says("A08", 1, control_id="PRIVATE-ODD")
    header, _, rest = plain.partition(b"\r")
    fields = header.split(b"|")
    misplaced = []
    for place in (2, 3, 4, 5, 6, 7, 8, 10, 11):
        moved = [*fields, *[b""] * 10]
        moved[place] = b"ADT^" + FAMILY.encode() if place == 8 else FAMILY.encode()
        misplaced.append(b"|".join(moved) + b"\r" + rest)
    moved = [*fields, *[b""] * 10]
    moved[8], moved[17] = FAMILY.encode() + b"^A08", FAMILY.encode()
    misplaced.append(b"|".join(moved) + b"\r" + rest)
    return [
        *misplaced,
        PLANTED.says(FAMILY, 1, control_id="PRIVATE-EVN"),
        PLANTED.discharged(control_id="PRIVATE-PV1", **{"class": WARD, "facility": WARD, "number": f"{SSN}^{name}"}),
        PLANTED.discharged(control_id="PRIVATE-DAY", discharged=name, disposition=name, birth_date=f"19311229{NOTE}"),
        PLANTED.says("A08", control_id="PRIVATE-ID", mrn=f"{SSN}^^^{FAMILY}^SS~{name}^^^&{NOTE}&x^{GIVEN}"),
        plain + f"NTE|1||{NOTE}\rOBX|1|ST|{name}\r{name}|1|2\rZ{GIVEN}|{STREET}\r".encode(),
        plain + f"PID|2||{SSN}||{name}||19311229\r".encode(),
        plain.replace(FAMILY.upper().encode(), "QUILLFÉATHER".encode("latin-1")),
        plain.replace(FAMILY.upper().encode(), b"\xff\xfe" + FAMILY.encode()),
        plain.decode().encode("utf-16"),
        plain.replace(b"|PRIVATE-ODD|", b"||"),
        plain.replace(b"MSH|^~\\&|", b"MSH|^~^&|"),
        rest,
        rest + plain,
        plain + plain,
        name.encode(),
        b"\xff" + name.encode() + b"\x00",
    ]


async def send_everything(service: Service) -> None:
    """Send what is good, what is odd, and what is no message."""
    await exchange(service.mllp, good_messages())
    for message in odd_messages():
        async with await Sender.connect(service.mllp) as sender:
            await sender.say(framed(message))
            sender.end()
            assert b"MSA" in (await sender.everything()).replace(b"\x00", b"")
    await break_frames(service)


async def break_frames(service: Service) -> None:
    """Say it where no message is: before a frame, in one that is cut off, in one that is too large, in noise."""
    said = good_messages()[1]
    for talk in (
        said,
        framed(said)[:200],
        b"\x0b" + said[:150] + framed(said),
        b"\x0b" + said + FAMILY.encode() * (FRAME_BYTES_MAX // len(FAMILY) + 1),
        b"\x0b" + b"MSH" + FAMILY.encode() * (FRAME_BYTES_MAX // len(FAMILY) + 1),
        FAMILY.encode() * 1_000,
        f"GET /{FAMILY} HTTP/1.1\r\n\r\n".encode(),
        f'{{"name": "{FAMILY}"}}'.encode(),
    ):
        async with await Sender.connect(service.mllp) as sender:
            await sender.say(talk)
            sender.end()
            await sender.everything()


def ask_the_web(service: Service) -> None:
    """Say it in every part of a request."""
    task = service.tasks_of(PLANTED.patient_id)["contact"]
    for path in (f"/{FAMILY}", f"/api/v1/tasks/{FAMILY}", f"/tasks/{FAMILY}", f"/static/{FAMILY}"):
        assert service.get(path, q=FAMILY).status_code == 404
    assert service.get("/api/v1/tasks", cursor=FAMILY).status_code == 422
    assert service.get("/api/v1/tasks", limit=FAMILY).status_code == 422
    acted = f"/api/v1/tasks/{task['id']}"
    assert service.post(f"{acted}/claim", version=task["version"], **{FAMILY: NOTE}).status_code == 422
    tried = {"mode": "phone", "outcome": "voicemail", "note": f"{NOTE} {PLANTED.phone}", "as": "Kim Lee"}
    assert service.post(f"{acted}/attempt", version=task["version"], **tried).status_code == 200
    assert service.post(f"{acted}/claim", version=task["version"], **{"as": FAMILY}).status_code == 409
    headers = {"cookie": f"afterstay_name={FAMILY}", "user-agent": FAMILY, "referer": f"http://{FAMILY}/"}
    assert httpx.get(f"{service.http}/", headers=headers, trust_env=False).status_code == 200
    assert httpx.post(f"{service.http}{acted}/claim", content=NOTE, trust_env=False).status_code == 422
    assert httpx.get(f"{service.http}/", headers={"host": FAMILY}, trust_env=False).status_code == 421


def test_nothing_that_was_planted_is_in_a_log_or_in_what_commands_say(shared: Service, tmp_path: Path) -> None:
    panel, wrong, file = tmp_path / "panel.csv", tmp_path / "wrong.csv", tmp_path / "message.hl7"
    panel.write_text(panel_of(PLANTED), encoding="utf-8")
    said = [shared.run("panel", "import", panel)]
    assert said[0].code == 0
    head, row, _ = panel_of(PLANTED).split("\n")
    wrong.write_text(
        "\n".join(
            [
                head,
                row.replace("1931-12-29", f"19311229 {FAMILY}"),
                row.replace(PLANTED.patient_id, "P991").replace(f"{PLANTED.mrn}^^^", f"{FAMILY}^^{SSN}^"),
                row.replace(PLANTED.patient_id, "P992") + f",{FAMILY},{NOTE}",
                row,
                row.replace(GIVEN, "Other"),
            ]
        ),
        encoding="utf-8",
    )
    said += [shared.run("panel", "import", wrong, *more) for more in ((), ("--json", "--dry-run"))]
    assert {one.code for one in said[1:]} == {1}
    wrong.write_text(f"{row}\n", encoding="utf-8")  # the header is missing, so a patient stands in its place
    said.append(shared.run("panel", "import", wrong))
    assert "header" in said[-1].err

    asyncio.run(send_everything(shared))
    until(lambda: shared.tasks_of(PLANTED.patient_id))
    ask_the_web(shared)
    shared.settle()
    file.write_bytes(good_messages()[0][:-1] + b"\x1c\r" + NOTE.encode())
    said.append(afterstay("send", file, "--to", f"{shared.mllp[0]}:{shared.mllp[1]}"))
    assert said[-1].code == 1
    said += [
        shared.run(*words)
        for words in (
            ("status",), ("doctor", "--json"), ("dlq", "ls"), ("review", "ls"), ("tasks", "ls", "--json"),
            ("trace", "PRIVATE-2"),
        )
    ]  # fmt: skip

    assert [line for line in shared.stderr().splitlines() if LOG_MARKS.search(line.encode())] == []
    assert [one for one in said if MARKS.search(f"{one.out}\n{one.err}".encode())] == []
    assert '"control_id": "PRIVATE-2"' in shared.stderr(), "the log says nothing at all"
    assert {mark.lower() for mark in LOG_MARKS.findall(b"".join(shared.kept()))} >= {
        b"quillfeather", b"quillf\xc9ather", b"velocipede", b"88117722", b"437829915", b"19311229", b"snowdriftward"
    }, "it was not planted"  # fmt: skip
