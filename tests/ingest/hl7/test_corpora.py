"""Goal: every real message is read, as found and with CR line ends, and nothing stalls the listener."""

import csv
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.ingest.hl7.ack import build_ack
from services.ingest.hl7.delimiters import Hl7SyntaxError
from services.ingest.hl7.message import Message, parse
from services.ingest.hl7.timestamps import parse_timestamp
from tests.support.corpora import Kind, corpora_files, corpora_folder, with_cr

pytestmark = pytest.mark.corpora

NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
# A batch's envelope, no header first, letters as separators.
REFUSED_ODD = {"batch-envelope", "header-missing", "separators-illegal"}


def _read(raw: bytes) -> Message:
    """Read a message as intake does, answer it, and look at every value in it."""
    started = time.process_time()
    message = parse(raw)
    assert message.raw == raw
    answer = build_ack(message, code="AA", control_id="OURS", sent_at=NOW)
    assert parse(answer).all("MSA")[0].field(2) == message.header.field(10)
    for segment in message:
        for field in range(1, len(segment) + 1):
            segment.value(field)
            segment.value(field, 4, 2)
            parse_timestamp(segment.component(field))
    assert time.process_time() - started < 1
    return message


def _both_ways(path: Path) -> list[bytes]:
    raw = path.read_bytes()
    return [raw, with_cr(raw)]


@pytest.mark.parametrize("kind", ["adt", "other"])
def test_every_message_is_read_and_answered(kind: Kind) -> None:
    for path in corpora_files(kind):
        for raw in _both_ways(path):
            assert _read(raw).header.value(1), path.name


def test_type_and_version_are_what_the_index_of_the_corpora_says() -> None:
    with (corpora_folder() / "index.tsv").open(encoding="utf-8", newline="") as index:
        rows = {row["file"]: row for row in csv.DictReader(index, delimiter="\t")}
    for path in corpora_files("adt") + corpora_files("other"):
        row = rows[f"{path.parent.name}/{path.name}"]
        header = parse(path.read_bytes()).header
        assert (header.field(9), header.field(12)) == (row["MSH-9"], row["MSH-12"]), path.name


def test_line_ends_make_no_difference_to_what_is_read() -> None:
    for path in corpora_files("adt"):
        as_found, with_carriage_returns = (parse(raw) for raw in _both_ways(path))
        if "line-break-in-field" not in {finding.code for finding in as_found.findings}:
            assert [(segment.id, segment.field(3)) for segment in as_found] == [
                (segment.id, segment.field(3)) for segment in with_carriage_returns
            ], path.name


def test_odd_input_is_read_or_refused_with_a_reason() -> None:
    for path in corpora_files("odd"):
        for raw in _both_ways(path):
            try:
                _read(raw)
            except Hl7SyntaxError as refusal:
                assert refusal.code in REFUSED_ODD, path.name  # noqa: PT017 - most of these files are read
