"""A dead letter that a person closes: balanced books, the bytes kept, why in the audit trail, and ways back."""

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from services.followup.store.tables import audit_event
from services.ingest.feeds import Feeds
from tests.commands.conftest import Afterstay
from tests.commands.test_dlq import DISCHARGE, FEEDS_FILE, NOBODY, NOT_HL7, letter_of
from tests.support.data_folders import DataFolder

WHY = "a vendor's test message"


@pytest.fixture
def parked(folder: DataFolder) -> DataFolder:
    """A folder that heard of a discharge from a sender that no feed named, and of something that is no message."""
    folder.load_panel()
    folder.receive(DISCHARGE, NOT_HL7, feeds=Feeds())
    folder.consume()
    return folder


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    file = tmp_path / "feeds.yaml"
    file.write_text(FEEDS_FILE)
    return file


def outcomes_of(afterstay: Afterstay, folder: DataFolder) -> dict[str, object]:
    """Return where messages ended; the books balance."""
    said = afterstay("status", "--data", folder.path, "--json")
    assert said.code == 0, said.json["problems"]
    found: dict[str, object] = said.json["outcomes"]
    return found


def discard(afterstay: Afterstay, folder: DataFolder, *letters: str, code: int = 0) -> dict[str, object]:
    said = afterstay("dlq", "discard", *letters, "--reason", WHY, "--as", "Olga", "--data", folder.path, "--json")
    assert said.code == code, said.err
    found: dict[str, object] = said.json
    return found


def test_a_discarded_letter_is_closed_counted_and_audited(afterstay: Afterstay, parked: DataFolder) -> None:
    letter = letter_of(afterstay, parked, "header-missing")

    assert discard(afterstay, parked, letter)["discarded"] == 1

    assert outcomes_of(afterstay, parked) == {
        "effect": 0, "no_effect": {"discarded": 1, "duplicate": 0}, "review": 0, "dead_letter": 1,
    }  # fmt: skip
    assert afterstay("dlq", "ls", "--data", parked.path, "--json").json["open"] == 1
    items = afterstay("dlq", "ls", "--all", "--data", parked.path, "--json").json["items"]
    assert {item["resolution"] for item in items} == {None, "discarded"}
    kept = sa.select(audit_event.c.actor, audit_event.c.detail).where(audit_event.c.action == "dead_letter.discarded")
    ((actor, detail),) = parked.rows(kept)
    assert actor == "Olga"
    assert msgspec.json.decode(str(detail))["why"] == WHY
    shown = afterstay("dlq", "show", letter, "--data", parked.path, "--show-phi", "--json")
    assert shown.json["message"].encode() == NOT_HL7


def test_discarding_again_changes_nothing(afterstay: Afterstay, parked: DataFolder) -> None:
    letter = letter_of(afterstay, parked, "feed-unknown")
    discard(afterstay, parked, letter)
    before = outcomes_of(afterstay, parked)

    assert discard(afterstay, parked, letter, letter) == {
        "dry_run": False, "letters": 1, "discarded": 0, "took_effect": [],
    }  # fmt: skip

    assert outcomes_of(afterstay, parked) == before
    audited = sa.select(audit_event.c.id).where(audit_event.c.action == "dead_letter.discarded")
    assert len(parked.rows(audited)) == 1


def test_a_dry_run_says_and_does_nothing(afterstay: Afterstay, parked: DataFolder) -> None:
    before = outcomes_of(afterstay, parked)

    said = afterstay(
        "dlq", "discard", "--dry-run", letter_of(afterstay, parked, "feed-unknown"), "--reason", WHY,
        "--data", parked.path,
    )  # fmt: skip

    assert (said.code, "1 would be discarded" in said.err) == (0, True)
    assert outcomes_of(afterstay, parked) == before


def test_what_took_effect_cannot_be_discarded(afterstay: Afterstay, parked: DataFolder, feeds: Path) -> None:
    letter = letter_of(afterstay, parked, "feed-unknown")
    afterstay("dlq", "replay", letter, "--feeds", feeds, "--data", parked.path)

    said = discard(afterstay, parked, letter, code=1)

    assert said["took_effect"] == [{"letter": letter, "resolution": "replayed"}]
    assert outcomes_of(afterstay, parked)["effect"] == 1


def test_replay_leaves_a_discarded_letter_unless_it_is_named(
    afterstay: Afterstay, parked: DataFolder, feeds: Path
) -> None:
    letter = letter_of(afterstay, parked, "feed-unknown")
    discard(afterstay, parked, letter)

    all_of_them = afterstay("dlq", "replay", "--feeds", feeds, "--data", parked.path, "--json").json
    assert (all_of_them["letters"], all_of_them["revived"]) == (1, 0)

    named = afterstay("dlq", "replay", letter, "--feeds", feeds, "--data", parked.path, "--json")
    assert (named.code, named.json["revived"]) == (0, 1)
    assert outcomes_of(afterstay, parked)["effect"] == 1
    again = afterstay("dlq", "replay", letter, "--feeds", feeds, "--data", parked.path, "--json")
    assert again.json["revived"] == 0
    assert outcomes_of(afterstay, parked)["effect"] == 1


def test_the_same_message_sent_again_takes_effect_if_it_can_be_read_now(
    afterstay: Afterstay, parked: DataFolder
) -> None:
    discard(afterstay, parked, letter_of(afterstay, parked, "feed-unknown"))

    parked.receive(DISCHARGE)
    parked.consume()

    assert outcomes_of(afterstay, parked) == {
        "effect": 1, "no_effect": {"discarded": 1, "duplicate": 0}, "review": 0, "dead_letter": 1,
    }  # fmt: skip


def test_the_same_message_sent_again_stays_closed_if_it_still_cannot_be_used(
    afterstay: Afterstay, folder: DataFolder
) -> None:
    folder.receive(NOBODY)
    folder.consume()
    discard(afterstay, folder, letter_of(afterstay, folder, "patient-not-identified"))

    folder.receive(NOBODY)
    folder.consume()

    assert outcomes_of(afterstay, folder) == {
        "effect": 0, "no_effect": {"discarded": 1, "duplicate": 1}, "review": 0, "dead_letter": 0,
    }  # fmt: skip
    assert afterstay("dlq", "ls", "--data", folder.path, "--json").json["open"] == 0


@pytest.mark.parametrize("reason", ["", "two\x1blines", "x" * 201])
def test_a_reason_is_a_few_words(afterstay: Afterstay, parked: DataFolder, reason: str) -> None:
    said = afterstay("dlq", "discard", "0:0", "--reason", reason, "--data", parked.path)
    assert said.code == 2
    assert "--reason" in said.err


def test_an_unknown_letter_is_refused(afterstay: Afterstay, parked: DataFolder) -> None:
    said = afterstay("dlq", "discard", "0:999999", "--reason", WHY, "--data", parked.path)
    assert said.code == 1
    assert "[letter-unknown]" in said.err
