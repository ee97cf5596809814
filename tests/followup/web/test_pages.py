import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from services.followup.store import tables
from services.followup.web.pages import static_files
from services.runtime.clock import FixedClock
from services.runtime.database import read_transaction, write_transaction
from tests.support import rows

Insert = Callable[..., str]
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "sec-fetch-site": "same-origin", "origin": "null"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e{{7*7}}"


class Page(HTMLParser):
    """A page as parsed: its tags, its text, and what of its text is not set apart by `<bdi>`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self._open_words: list[str] = []
        self._isolated = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._isolated += tag in ("bdi", "title")
        if tag in ("p", "br", "li", "td", "th", "dt", "dd", "div", "time"):
            self._words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._isolated -= tag in ("bdi", "title")

    def handle_data(self, data: str) -> None:
        self._words.append(data)
        if not self._isolated:
            self._open_words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._words).split())

    @property
    def open_text(self) -> str:
        return " ".join("".join(self._open_words).split())

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in tags]


async def look(client: httpx.AsyncClient, path: str = "/", status: int = 200) -> Page:
    response = await client.get(path, headers=BROWSER)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.text)


async def post(client: httpx.AsyncClient, path: str, **form: object) -> httpx.Response:
    return await client.post(path, data=form, headers=BROWSER)


@pytest.fixture
def evil(engine: sa.Engine) -> str:
    """A task in which every text that a sender or a person wrote is markup."""
    with write_transaction(engine) as connection:
        patient_id = rows.insert_patient(
            connection, id=EVIL, family=EVIL, given=EVIL, sex=EVIL, phone=EVIL, language=EVIL,
            birth_date=date(2020, 1, 1), guardian_name=EVIL, guardian_relation=EVIL, guardian_phone=EVIL,
        )  # fmt: skip
        view = rows.a_view(
            facility_name=EVIL, facility_code=EVIL, visit_number=EVIL, class_code=EVIL, class_raw=EVIL,
            disposition_code=None, disposition_raw=EVIL, disposition_text=EVIL,
        )  # fmt: skip
        stay_id = rows.insert_stay(connection, view, patient_id=patient_id, match='{"rule": "<b>rule</b>"}')
        fragment_id = rows.insert_fragment(connection, stay_id=stay_id)
        rows.insert_event(
            connection, fragment_id=fragment_id, feed=EVIL, trigger=EVIL, kind=EVIL, control_id=EVIL,
            outcome=EVIL, reason=EVIL,
        )  # fmt: skip
        task_id = rows.insert_task(
            connection, patient_id=patient_id, stay_id=stay_id, status="on-hold",
            status_reason_code="x", status_reason_text=EVIL, owner=EVIL, protocol=EVIL,
            warnings='["<script>alert(3)</script>"]', attempt_count=1,
            last_attempt_at=rows.LEARNED_AT, last_attempt_outcome="voicemail",
        )  # fmt: skip
        connection.execute(
            sa.insert(tables.task_attempt).values(
                task_id=task_id,
                at=rows.LEARNED_AT,
                recorded_at=rows.LEARNED_AT,
                actor=EVIL,
                mode="phone",
                outcome="voicemail",
                note=EVIL,
            )
        )
        connection.execute(
            sa.insert(tables.task_history).values(
                task_id=task_id,
                at=rows.LEARNED_AT,
                actor=EVIL,
                change=EVIL,
                before="{}",
                after='{"owner": "<script>alert(4)</script>"}',
                reason=EVIL,
            )
        )
        return task_id


# --- B36: what senders wrote is text ---------------------------------------------------------------------------------


async def test_markup_in_any_field_is_shown_as_text(client: httpx.AsyncClient, evil: str) -> None:
    refused = await post(client, f"/tasks/{evil}/complete", version=1, outcome="reached")
    assert refused.status_code == 409
    pages = [await look(client), await look(client, f"/tasks/{evil}"), Page(refused.text)]
    for page in pages:
        assert page.all("script", "img", "b", "iframe", "object", "style") == []
        assert "<script>alert(1)</script>" in page.text
        assert "{{7*7}}" in page.text
        for attributes in (attributes for _, attributes in page.tags):
            assert not [name for name in attributes if name.startswith("on") or name == "style"]


async def test_what_others_wrote_is_isolated_from_the_text_around_it(client: httpx.AsyncClient, evil: str) -> None:
    for path in ("/", f"/tasks/{evil}"):
        page = await look(client, path)
        assert page.text.count("alert(") > 5
        assert "alert(" not in page.open_text
        assert "rule" not in page.open_text


async def test_pages_need_no_script_and_nothing_from_elsewhere(client: httpx.AsyncClient, insert: Insert) -> None:
    task_id = insert()
    for path in ("/", f"/tasks/{task_id}", "/tasks/nothing"):
        page = Page((await client.get(path, headers=BROWSER)).text)
        assert page.all("script") == []
        links = [
            attributes.get("href") or attributes.get("action") or "" for attributes in page.all("a", "form", "link")
        ]
        assert [link for link in links if not link.startswith(("/", "#", "tel:+1"))] == []


# --- the list --------------------------------------------------------------------------------------------------------


async def test_a_row_says_who_to_call_by_when_and_why(client: httpx.AsyncClient, insert: Insert) -> None:
    insert(owner="Kim Lee", warnings='["verify destination", "dates-moved"]', priority="urgent")
    text = (await look(client)).text
    for words in (
        "due today, Tue Nov 24", "Contact · urgent", "Ruiz, Ana", "born Mar 9, 1952, 74 years old, female",
        "speaks Spanish", "Ana Ruiz (the patient) 212-555-0147", "Mercy Hospital Inpatient stay",
        "left Fri Nov 20, 2:30 PM EST, after 3 days", "to: home", "Kim Lee · to do", "not tried yet",
        "verify destination", "the dates moved after work on this had begun",
    ):  # fmt: skip
        assert words in text


async def test_a_held_task_says_what_it_waits_for(client: httpx.AsyncClient, insert: Insert) -> None:
    insert(status="on-hold", status_reason_code="post-acute", status_reason_text="on hold: post-acute")
    assert "On hold: post-acute" in (await look(client)).text


async def test_a_death_and_a_child_without_a_guardian_are_said(client: httpx.AsyncClient, engine: sa.Engine) -> None:
    with write_transaction(engine) as connection:
        patient_id = rows.insert_patient(connection, birth_date=date(2026, 9, 30), phone=None)
        stay_id = rows.insert_stay(connection, rows.a_view(deceased=True))
        rows.insert_task(connection, patient_id=patient_id, stay_id=stay_id)
    text = (await look(client)).text
    for words in ("do not call", "the panel names no guardian", "no phone number on the panel", "1 month old"):
        assert words in text


async def test_only_a_number_that_is_one_is_a_link(client: httpx.AsyncClient, engine: sa.Engine) -> None:
    with write_transaction(engine) as connection:
        for phone in ("212-555-0147", "+44 20 7946 0958", "javascript:alert(1)"):
            rows.insert_task(connection, patient_id=rows.insert_patient(connection, phone=phone))
    page = await look(client)
    links = [link["href"] for link in page.all("a") if link.get("class") == "phone"]
    assert links == ["tel:+12125550147"]
    assert "+44 20 7946 0958" in page.text
    assert "javascript:alert(1)" in page.text


async def test_the_list_is_a_table_with_a_caption_and_header_cells(client: httpx.AsyncClient, insert: Insert) -> None:
    insert()
    page = await look(client)
    assert len(page.all("caption")) == 1
    headers = page.all("th")
    assert [header["scope"] for header in headers] == ["col"] * 6 + ["row"]
    labels = [cell["data-label"] for cell in page.all("td", "th") if "data-label" in cell]
    assert labels == ["Due", "Patient", "Call", "Stay", "Work so far", "Do"]
    assert all("role" in cell for cell in page.all("td", "th"))  # cards at 320 px keep the table's meaning


async def test_every_field_has_a_label_and_every_page_a_language(client: httpx.AsyncClient, insert: Insert) -> None:
    page = await look(client, f"/tasks/{insert()}")
    labeled = {label["for"] for label in page.all("label")}
    fields = [field for field in page.all("input", "select", "textarea") if field.get("type") != "hidden"]
    assert fields
    assert [field for field in fields if field["id"] not in labeled] == []
    assert page.all("html")[0]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


async def test_an_empty_list_says_what_it_means(client: httpx.AsyncClient, insert: Insert) -> None:
    empty = (await look(client)).text
    assert "No task is open." in empty
    assert "It does not mean that hospitals are sending" in empty
    assert "No task has been closed yet." in (await look(client, "/?show=closed")).text
    assert "There are no tasks yet" in (await look(client, "/?show=all")).text
    insert(status="completed", status_reason_code="reached", status_reason_text="reached")
    assert "No task is open." in (await look(client)).text
    assert "was due Tue Nov 24" in (await look(client, "/?show=closed")).text


async def test_a_long_list_goes_on_on_the_next_page(client: httpx.AsyncClient, engine: sa.Engine) -> None:
    with write_transaction(engine) as connection:
        rows.insert_task(connection)
        template = connection.execute(sa.select(tables.task)).one()._asdict()
        values = [{**template, "id": f"Z{n:03d}", "episode_id": f"Z{n}"} for n in range(119)]
        connection.execute(sa.insert(tables.task), values)
    first = await look(client)
    assert "100 tasks on this page; more follow." in first.text
    [following] = [link["href"] for link in first.all("a") if link.get("rel") == "next"]
    assert following is not None
    second = await look(client, following)
    assert "20 tasks on this page, continued." in second.text
    assert not [link for link in second.all("a") if link.get("rel") == "next"]


async def test_a_page_that_is_not_there_is_a_readable_refusal(client: httpx.AsyncClient) -> None:
    for path, status in (("/tasks/nothing", 404), ("/nothing", 404), ("/?cursor=x", 422), ("/?show=x", 422)):
        assert "Not " in (await look(client, path, status)).text
    assert (await client.get("/nothing")).headers["content-type"] == "application/problem+json"


# --- acting by plain forms -------------------------------------------------------------------------------------------


async def test_a_task_is_worked_to_its_end_by_forms_alone(
    client: httpx.AsyncClient, insert: Insert, clock: FixedClock
) -> None:
    task_id = insert()
    claimed = await post(client, f"/tasks/{task_id}/claim", version=1, **{"as": "Ana  Smith"})
    assert (claimed.status_code, claimed.headers["location"]) == (303, f"/tasks/{task_id}")
    assert "Ana Smith · claimed" in (await look(client, f"/tasks/{task_id}")).text

    called = {"mode": "phone", "outcome": "voicemail", "reached": "none", "note": "", "at": "", "zone": rows.ZONE}
    assert (await post(client, f"/tasks/{task_id}/attempt", version=2, **called)).status_code == 303
    clock.advance(timedelta(hours=1))
    earlier = {
        **called,
        "outcome": "reached",
        "reached": "caregiver",
        "at": "2026-11-24T10:30",
        "note": "Sister: fine.",
    }
    assert (await post(client, f"/tasks/{task_id}/attempt", version=3, **earlier)).status_code == 303
    page = await look(client, f"/tasks/{task_id}")
    assert "Tue Nov 24, 10:30 AM EST Attempt by phone: reached, reached the caregiver by Ana Smith" in page.text
    assert "Sister: fine." in page.text

    done = await post(client, f"/tasks/{task_id}/complete", version=4, outcome="reached")
    assert done.status_code == 303
    page = await look(client, f"/tasks/{task_id}")
    assert "Ana Smith · completed" in page.text
    assert [form["action"] for form in page.all("form")] == ["/name"]
    assert "No task is open." in (await look(client)).text


async def test_forms_ask_for_a_name_once_and_then_remember_it(client: httpx.AsyncClient, insert: Insert) -> None:
    task_id = insert()
    assert (
        len([field for field in (await look(client, f"/tasks/{task_id}")).all("input") if field["name"] == "as"]) == 4
    )
    saved = await post(client, "/name", **{"as": "José Ñáñez"})
    cookie = saved.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page = await look(client, f"/tasks/{task_id}")
    names = [field for field in page.all("input") if field["name"] == "as"]
    assert [field.get("type") for field in names] == [None, "hidden", "hidden", "hidden"]
    assert {field["value"] for field in names} == {"José Ñáñez"}
    await post(client, f"/tasks/{task_id}/claim", version=1)
    assert "José Ñáñez · claimed" in (await look(client, f"/tasks/{task_id}")).text


async def test_who_is_too_late_sees_who_was_first_and_a_double_click_of_ones_own_is_no_error(
    client: httpx.AsyncClient, insert: Insert
) -> None:
    task_id = insert()
    await post(client, f"/tasks/{task_id}/claim", version=1, **{"as": "Ana"})
    again = await post(client, f"/tasks/{task_id}/claim", version=1, **{"as": "Ana"})
    assert again.status_code == 303
    late = await post(client, f"/tasks/{task_id}/claim", version=1, **{"as": "Ben"})
    assert late.status_code == 409
    assert "Ana was first" in Page(late.text).text


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"version": 1, "mode": "phone", "outcome": ""}, "outcome: field required"),
        ({"version": "x", "mode": "phone", "outcome": "voicemail"}, "version: input should be a valid integer"),
        ({"version": "9" * 30, "mode": "phone", "outcome": "voicemail"}, "version: input should be"),
        ({"version": "\u0661", "mode": "phone", "outcome": "voicemail"}, "version: input should be"),
        ({"mode": "phone", "outcome": "voicemail"}, "version: field required"),
        ({"version": 1, "mode": "phone", "outcome": "reached"}, "Say who was reached"),
        (
            {"version": 1, "mode": "phone", "outcome": "voicemail", "at": "yesterday", "zone": "UTC"},
            "at: must be a time",
        ),
        (
            {"version": 1, "mode": "phone", "outcome": "voicemail", "at": "2026-11-24T09:00", "zone": "X/Y"},
            "at: must be",
        ),
        ({"version": 1, "mode": "phone", "outcome": "voicemail", "at": "2026-11-24T09:00"}, "at: must be a time"),
        ({"version": 1, "mode": "phone", "outcome": "voicemail", "secret": "x"}, "a field that is not known"),
        ({"version": 1, "mode": "phone", "outcome": "voicemail", "as": "protocol"}, "use another"),
    ],
)
async def test_a_form_that_is_not_right_is_a_page_that_says_what_is(
    client: httpx.AsyncClient, insert: Insert, form: dict[str, Any], words: str
) -> None:
    task_id = insert()
    refused = await post(client, f"/tasks/{task_id}/attempt", **form)
    assert refused.status_code == 422
    assert words in Page(refused.text).text
    assert "not tried yet" in (await look(client, f"/tasks/{task_id}")).text


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"version=1&version=2", "application/x-www-form-urlencoded"),
        (b"version=%ff", "application/x-www-form-urlencoded"),
        (b"version=\xff", "application/x-www-form-urlencoded"),
        (b"&".join(b"f%d=1" % n for n in range(50)), "application/x-www-form-urlencoded"),
        (b'{"version": 1}', "application/json"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"version=1", ""),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    client: httpx.AsyncClient, insert: Insert, content: bytes, content_type: str
) -> None:
    task_id = insert()
    for path in (f"/tasks/{task_id}/claim", "/name"):
        response = await client.post(path, content=content, headers={**BROWSER, "content-type": content_type})
        assert response.status_code == 415


async def test_nothing_is_changed_by_looking(client: httpx.AsyncClient, insert: Insert) -> None:
    task_id = insert()
    for action in ("claim", "attempt", "complete"):
        assert (await client.get(f"/tasks/{task_id}/{action}", headers=BROWSER)).status_code == 405


async def test_views_of_pages_are_audited_under_the_name_that_was_given(
    client: httpx.AsyncClient, insert: Insert, engine: sa.Engine
) -> None:
    task_id = insert()
    await look(client)
    await post(client, "/name", **{"as": "Ana"})
    await look(client)
    await look(client, f"/tasks/{task_id}")
    client.cookies.clear()
    client.cookies.set("afterstay_name", "%00bad%0a")
    await look(client)
    with read_transaction(engine) as connection:
        kept = connection.execute(sa.select(tables.audit_event.c.actor, tables.audit_event.c.action)).all()
    assert [tuple(row) for row in kept] == [
        ("coordinator", "tasks.listed"),
        ("Ana", "tasks.listed"),
        ("Ana", "task.viewed"),
        ("coordinator", "tasks.listed"),
    ]


# --- the timeline ----------------------------------------------------------------------------------------------------


async def test_the_timeline_tells_messages_changes_and_attempts_in_order(
    client: httpx.AsyncClient, insert: Insert, engine: sa.Engine
) -> None:
    task_id = insert()
    with write_transaction(engine) as connection:
        stay_id = connection.execute(sa.select(tables.task.c.stay_id)).scalar_one()
        fragment_id = rows.insert_fragment(connection, stay_id=stay_id)
        rows.insert_event(
            connection, fragment_id=fragment_id, control_id="MSG9", outcome="no_effect", reason="duplicate"
        )
        connection.execute(
            sa.insert(tables.task_history).values(
                task_id=task_id,
                at=datetime(2026, 11, 21, 12, tzinfo=UTC),
                actor="protocol",
                change="moved",
                before='{"due_on": "2026-11-24"}',
                after='{"due_on": "2026-11-25"}',
            )
        )
    await post(client, f"/tasks/{task_id}/claim", version=1, **{"as": "Ana"})
    text = (await look(client, f"/tasks/{task_id}")).text.partition("What happened")[2]
    for words in (
        "Fri Nov 20, 2:31 PM EST Message A03 received: discharged from mercy",
        "without effect (duplicate) control id MSG9",
        "Dates moved by protocol due on: 2026-11-24 → 2026-11-25",
        "Claimed by Ana status: requested → accepted owner: Ana",
    ):
        before, found, text = text.partition(words)
        assert found, (words, before)


async def test_static_files_are_served_and_nothing_beside_them(client: httpx.AsyncClient) -> None:
    style = await client.get("/static/style.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert (await client.get("/static/icon.svg")).headers["content-type"].startswith("image/svg+xml")
    for name in ("nothing", "..%2fapp.py", "%2e%2e/app.py"):
        assert (await client.get(f"/static/{name}")).status_code == 404


def test_colors_of_text_have_contrast_in_both_themes() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1, computed from the style sheet itself."""
    style = static_files()["style.css"][0].decode()
    for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]:
        colors = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        for ink, papers in {
            "ink": ("page", "paper", "hold-paper", "today-paper", "late-paper"),
            "quiet": ("page", "paper"),
            "link": ("page", "paper"),
            "late": ("page", "paper"),
            "today": ("page", "paper"),
            "on-button": ("button",),
        }.items():
            for paper in papers:
                assert _contrast(colors[ink], colors[paper]) >= 4.5, (ink, paper)
        assert _contrast(colors["focus"], colors["page"]) >= 3
        assert _contrast(colors["strong-line"], colors["paper"]) >= 3


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
