import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.commands.data_source import DataSource
from services.commands.status import read_status
from services.followup.store.tables import ack_count, outcome_count, stream_position
from services.runtime.eventlog.embedded.layout import LOG_FILE
from tests.commands.conftest import Afterstay
from tests.support.adt import adt
from tests.support.data_folders import DataFolder

ADMIT = adt("A01", sent="20261117090000", control_id="M1", admitted="20261117090000")
DISCHARGE = adt("A03", sent="20261120143000", control_id="M2", admitted="20261117090000", discharged="20261120143000")
STRANGER = adt("A01", sent="20261117090000", control_id="M3", name="DOE^JO", mrn="9^^^MERCY^MR", number="V9")
UNNAMED = adt("A01", sent="20261117090000", control_id="M4", facility="ELSEWHERE")
NOT_HL7 = b"hello\r"
LOOKS = 30


def test_an_empty_folder_has_balanced_books(afterstay: Afterstay, folder: DataFolder) -> None:
    said = afterstay("status", "--data", folder.path, "--json")

    assert said.code == 0
    assert said.json["received"] == said.json["pending"] == said.json["events"] == 0
    assert said.json["acknowledged"] == {"AA": 0, "AE": 0, "AR": 0}
    assert said.json["outcomes"] == {"effect": 0, "no_effect": {"duplicate": 0}, "review": 0, "dead_letter": 0}
    assert said.json["tasks"] == {}


def test_every_message_is_in_exactly_one_place(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.load_panel()
    folder.receive(ADMIT, DISCHARGE, DISCHARGE, STRANGER, UNNAMED, NOT_HL7)
    folder.consume()
    folder.receive(ADMIT, UNNAMED)

    said = afterstay("status", "--data", folder.path, "--json")

    assert (said.code, said.err) == (0, "")
    assert said.json["received"] == 8
    assert said.json["pending"] == 2
    assert said.json["acknowledged"] == {"AA": 7, "AE": 0, "AR": 1}
    assert said.json["events"] == 5
    outcomes = said.json["outcomes"]
    assert outcomes["effect"] == 2
    assert outcomes["no_effect"] == {"duplicate": 1, "not-on-panel": 1}
    assert outcomes["dead_letter"] == 2
    assert said.json["dead_letters"] == {"feed-unknown": 1, "header-missing": 1}
    assert said.json["tasks"]["contact"] == {"requested": 1}
    assert said.json["balanced"] is True


def test_what_nobody_consumes_yet_is_pending_and_not_an_error(afterstay: Afterstay, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.receive(ADMIT, DISCHARGE, NOT_HL7)

    said = afterstay("status", "--data", tmp_path, "--json")

    assert said.code == 0
    assert said.json["received"] == said.json["pending"] == 3
    assert said.json["acknowledged"] == {"AA": 2, "AE": 0, "AR": 1}


def test_people_get_the_same_numbers_as_words(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.load_panel()
    folder.receive(ADMIT, DISCHARGE)
    folder.consume()

    said = afterstay("status", "--data", folder.path)

    assert said.code == 0
    assert "received  2" in said.out
    assert "contact requested" in said.out
    assert "the books balance" in said.out


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (sa.update(outcome_count).values(n=outcome_count.c.n - 1), "outcomes are recorded for"),
        (sa.update(ack_count).values(n=ack_count.c.n + 1), "acknowledgements are counted for"),
        (sa.insert(outcome_count).values(outcome="lost", reason="", n=1), "the outcome lost is none"),
        (sa.insert(outcome_count).values(outcome="review", reason="odd", n=-1), "-1 are counted as review (odd)"),
        (sa.update(stream_position).values(next_offset=99), "the log is not the one that was consumed"),
        (sa.insert(outcome_count).values(outcome="dead_letter", reason="odd", n=1), "dead letters are open of"),
    ],
)
def test_books_that_do_not_balance_are_said_and_fail(
    afterstay: Afterstay, folder: DataFolder, harm: sa.Executable, words: str
) -> None:
    folder.load_panel()
    folder.receive(ADMIT, DISCHARGE)
    folder.consume()
    folder.execute(harm)

    said = afterstay("status", "--data", folder.path, "--json")

    assert said.code == 1
    assert said.json["balanced"] is False
    assert words in " ".join(said.json["problems"])
    assert all(line.startswith("afterstay: the books do not balance: ") for line in said.err.splitlines())


def test_a_log_that_is_gone_after_it_was_consumed_is_said(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.receive(ADMIT)
    folder.consume()
    for file in folder.path.glob(f"{LOG_FILE}*"):
        file.unlink()

    said = afterstay("status", "--data", folder.path, "--json")

    assert said.code == 1
    assert "the log ends at 0" in said.err


@pytest.mark.parametrize(("make", "code"), [(False, "data-folder-missing"), (True, "data-folder-empty")])
def test_a_folder_without_our_data_is_refused(afterstay: Afterstay, tmp_path: Path, make: bool, code: str) -> None:
    data = tmp_path / "nowhere"
    if make:
        data.mkdir()

    said = afterstay("status", "--data", data, "--json")

    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith("afterstay: ")
    assert f"[{code}]" in said.err
    assert not (data / "afterstay.db").exists()


def test_a_database_that_is_not_migrated_yet_counts_as_empty(afterstay: Afterstay, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.receive(ADMIT)
    folder.open().dispose()
    (tmp_path / "afterstay.db").touch()

    assert afterstay("status", "--data", tmp_path, "--json").json["pending"] == 1


def test_a_database_of_a_later_release_is_refused(afterstay: Afterstay, folder: DataFolder) -> None:
    folder.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    said = afterstay("status", "--data", folder.path)

    assert said.code == 1
    assert "[database-too-new]" in said.err


def test_books_balance_at_every_moment_while_messages_come_and_are_consumed(folder: DataFolder) -> None:
    """Goal: no answer is ever wrong because something is in flight. Method: look, over and over, while both go on."""
    folder.load_panel()
    folder.receive(ADMIT)
    stop = threading.Event()

    def receive() -> None:
        for number in count():
            if stop.is_set():
                return
            folder.receive(*(adt("A08", sent="20261118090000", control_id=f"C{number}-{n}") for n in range(3)))

    def consume() -> None:
        while not stop.is_set():
            folder.consume()

    with ThreadPoolExecutor(2) as pool:
        going = [pool.submit(receive), pool.submit(consume)]
        try:
            seen = [read_status(DataSource(folder=folder.path)) for _ in range(LOOKS)]
        finally:
            stop.set()
        for one in going:
            one.result()

    assert [status.problems for status in seen] == [()] * LOOKS
    assert [status.received for status in seen] == sorted(status.received for status in seen)
    assert seen[0].received < seen[-1].received
