"""Feeds as an operator lives with them: forgotten, wrong, added later (DESIGN §4; faults B45)."""

from pathlib import Path

import pytest

from tests.system.people import FEED, Person, panel_of, people
from tests.system.service import Service, afterstay, until

pytestmark = pytest.mark.system

REPLAYED, RESENT = people(500, 2)


def sent_by(person: Person) -> list[bytes]:
    return [
        person.admitted(control_id=f"{person.family}-1"),
        person.discharged(control_id=f"{person.family}-2"),
    ]


def test_messages_from_before_the_feed_take_effect_by_a_replay_or_by_a_resend_and_once(tmp_path: Path) -> None:
    panel, feeds = tmp_path / "panel.csv", tmp_path / "feeds.yaml"
    panel.write_text(panel_of(REPLAYED, RESENT), encoding="utf-8")
    replayed, resent = sent_by(REPLAYED), sent_by(RESENT)
    with Service(tmp_path) as service:
        assert service.run("panel", "import", panel).code == 0
        assert [answer.code for answer in service.send(*replayed, *resent)] == ["AA"] * 4
        service.settle()
        assert service.tasks() == []
        listed = service.run("dlq", "ls")
        assert listed.code == 0
        assert "feed-unknown" in listed.out
        for advice in ("sending_application", "sending_facility", "`feeds:`", "restart", "afterstay dlq replay"):
            assert advice in listed.err
        assert "feeds_missing" in {line["event"] for line in service.log()}

        service.feed(FEED)
        (*letters,) = (
            letter["letter"]
            for letter in service.run("dlq", "ls", "--json").json["items"]
            if letter["control_id"].startswith(REPLAYED.family)
        )
        replay = service.run("dlq", "replay", *letters, "--feeds", feeds, "--json")
        assert (replay.code, replay.json["revived"]) == (0, 2), replay
        assert sorted(service.tasks_of(REPLAYED.patient_id)) == ["contact", "visit"]
        before = service.tasks_of(REPLAYED.patient_id)
        service.terminate()
        assert service.wait() == 0

        service.start()
        assert [answer.code for answer in service.send(*resent, *resent, *replayed)] == ["AA"] * 6
        assert sorted(until(lambda: service.tasks_of(RESENT.patient_id))) == ["contact", "visit"]
        books = service.settle()
        assert service.tasks_of(REPLAYED.patient_id) == before
        assert (books.received, books.outcomes.dead_letter) == (10, 0)
        assert service.run("dlq", "ls", "--json").json == {"items": [], "open": 0}
        resolved = service.run("dlq", "ls", "--all", "--json").json["items"]
        assert len(resolved) == 4
        assert all(letter["resolved_at"] for letter in resolved)
        again = service.run("dlq", "replay", "--feeds", feeds, "--json")
        assert (again.code, again.json["letters"]) == (0, 0)
        assert len(service.tasks()) == 4


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (FEED.replace("America/New_York", "New York"), 5, "'New York' is not an IANA time zone"),
        (FEED.replace("authority", "autority"), 4, "autority"),
        (FEED.replace("    sending_facility: MERCY\n", ""), 2, "names no sender"),
        (FEED + FEED.removeprefix("feeds:\n"), 9, "is already that of the feed on line 2"),
        (FEED + "    classes:\n      OBS: OBSERVED\n", 10, "class 'OBSERVED' is not one of"),
        ("feeds: [", 1, "not YAML"),
    ],
    ids=["zone", "key", "sender", "duplicate", "class", "yaml"],
)
def test_a_wrong_feeds_file_is_refused_with_its_file_its_line_and_the_reason(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(text, encoding="utf-8")

    refused = afterstay("run", "--data", tmp_path / "data", "--feeds", feeds, "--mllp-port", 0, "--http-port", 0)

    assert refused.code == 1
    assert refused.out == ""
    said = [one for one in refused.err.splitlines() if one.startswith("afterstay:")]
    assert any(f"{feeds}:{line}: " in one and reason in one and "[feeds-file-invalid]" in one for one in said), said


def test_a_feeds_file_that_is_empty_or_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    empty, nowhere = tmp_path / "empty.yaml", tmp_path / "nowhere.yaml"
    empty.touch()
    for feeds, reason in ((empty, "is empty"), (nowhere, "cannot be read")):
        refused = afterstay("run", "--data", tmp_path / "data", "--feeds", feeds, "--mllp-port", 0, "--http-port", 0)
        assert (refused.code, refused.out) == (1, "")
        assert f"{feeds}: {reason}" in refused.err
