"""The reference says what the code says: every code, word and key that people may meet is explained.

The codes are taken from the modules that make them: strings of kebab-case words in their source, what is given as
`code=` or `reason=`, and the tables that can be imported.
"""

import ast
import codecs
import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Final, get_args

import pytest

from services.followup.domain.attempts import Outcome
from services.followup.domain.identity import Rule, UncertainReason, UnmatchedReason
from services.followup.domain.protocol_rules import AwaitArrival, Hold, NoFollowUp, Review
from services.followup.domain.reconcile import ChangeKind
from services.followup.domain.stays import StayStatus
from services.followup.domain.tasks import Status
from services.followup.protocols.loading import load_protocol, protocol_names
from services.followup.usecases.sorting import AWAITS_REPLAY, DISCARDED, PARKED, RECORDED_ONLY, REPLAYED, SUPERSEDED
from services.followup.usecases.stay_ids import ABSORBED, UNTOLD
from services.ingest import mllp_door
from services.ingest.door import PEER_MESSAGES_PER_S
from services.ingest.feeds import CERTIFICATE_KINDS, CLASS_WORDS, CLASSES, DISPOSITIONS
from services.ingest.feeds_file import read_feeds
from services.ingest.hl7.charset import resolve_charset
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import HandshakeFailure
from services.ingest.mllp.peers import BURST_S
from services.ingest.mllp.tls import NAMES_MAX
from services.ingest.normalize import KINDS
from tests.docs.pages import ROOT, all_pages, read_page, table_rows

_KEBAB: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
_WORDS: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_FOLLOWUP: Final = "services.followup"
_INGEST: Final = ("normalize", "reception", "senders", "event_*", "hl7/*")
_OUTCOME_MODULES: Final = (
    *sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for pattern in _INGEST
        for path in (ROOT / "services/ingest").glob(f"{pattern}.py")
        if path.stem != "__init__"
    ),
    f"{_FOLLOWUP}.usecases.sorting",
    f"{_FOLLOWUP}.usecases.follow_up",
    f"{_FOLLOWUP}.consumer.handler",
    f"{_FOLLOWUP}.domain.decisions",
    f"{_FOLLOWUP}.domain.identity",
    f"{_FOLLOWUP}.domain.protocols",
    f"{_FOLLOWUP}.domain.reconcile",
    f"{_FOLLOWUP}.domain.stays",
)
_HTTP_MODULES: Final = (
    f"{_FOLLOWUP}.web.problems",
    f"{_FOLLOWUP}.usecases.worklist",
    f"{_FOLLOWUP}.domain.attempts",
    f"{_FOLLOWUP}.domain.tasks",
)
_PANEL_MODULES: Final = tuple(
    f"{_FOLLOWUP}.{name}"
    for name in ("usecases.panel", "usecases.panel_cells", "usecases.panel_file", "store.panel", "store.panel_staging")
)

_NO_CODES: Final = (
    frozenset(get_args(Status))  # FHIR's, in http-api.md
    | frozenset(get_args(StayStatus))
    | frozenset({"birth-date"})  # a field that agrees or contradicts
)


def _codes_of(module: ModuleType) -> set[str]:
    """Return the codes that a module's source holds."""
    tree = ast.parse(inspect.getsource(module))
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if _KEBAB.fullmatch(text):
                found.add(text)
            case ast.keyword(arg="code" | "reason", value=ast.Constant(value=str(text))) if _WORDS.fullmatch(text):
                found.add(text)
    return {code for code in found - _NO_CODES if not _is_codec(code)}


def _is_codec(text: str) -> bool:
    """Say whether a string is the name of a charset."""
    try:
        codecs.lookup(text)
    except LookupError:
        return False
    return True


def _missing(codes: Iterable[str], page: str) -> list[str]:
    """Return the codes that a page has nowhere between backticks, alone or in a list of codes."""
    told = {word for code in read_page(page).inline_code() for word in code.split()}
    return sorted(set(codes) - told)


@pytest.mark.parametrize("name", _OUTCOME_MODULES)
def test_every_code_of_a_message_stay_or_finding_is_in_outcomes(name: str) -> None:
    assert _missing(_codes_of(importlib.import_module(name)), "docs/reference/outcomes.md") == []


def test_the_search_for_codes_finds_those_that_are_known_to_be_there() -> None:
    found = set().union(*(_codes_of(importlib.import_module(name)) for name in _OUTCOME_MODULES))
    assert {"feed-unknown", "frame-too-large", "died", "class-unmapped", "waits-for-stay", "already-done"} <= found
    assert {"record-damaged", "apply-failed", "time-twice", "header-missing", "not-a-member", "duplicate"} <= found


def test_a_code_that_nobody_wrote_down_would_be_found() -> None:
    assert _missing({"no-such-code"}, "docs/reference/outcomes.md") == ["no-such-code"]


def test_every_reason_in_the_tables_is_in_outcomes() -> None:
    tables = (
        *get_args(UncertainReason), *get_args(UnmatchedReason), *get_args(Rule), *get_args(Outcome),
        *get_args(ChangeKind), *RECORDED_ONLY.values(), ABSORBED, UNTOLD, REPLAYED, SUPERSEDED,
        DISCARDED, AWAITS_REPLAY,
        "duplicate", "dead_letter", "no_effect",
    )  # fmt: skip
    assert _missing(tables, "docs/reference/outcomes.md") == []
    assert PARKED.keys() <= {"unusable", "unreadable", "unknown_feed"}


@pytest.mark.parametrize("name", protocol_names())
def test_every_reason_of_a_protocol_is_in_outcomes(name: str) -> None:
    protocol = load_protocol(name)
    actions = [rule.action for rule in (*protocol.dispositions.values(), protocol.otherwise)]
    reasons = {one.reason for one in actions if isinstance(one, Hold | NoFollowUp | AwaitArrival | Review)}
    assert reasons
    assert _missing(reasons, "docs/reference/outcomes.md") == []


def test_the_dispositions_table_is_that_of_the_shipped_protocol() -> None:
    protocol = load_protocol("transitional-care")
    shipped: dict[str, set[str]] = {}
    for code, rule in protocol.dispositions.items():
        shipped.setdefault(rule.name, set()).add(code)
    rows = table_rows(read_page("docs/reference/protocols.md").section("Dispositions"))
    told = {row[0]: _codes_in(row[1]) for row in rows}
    assert told.pop(protocol.otherwise.name) == set()
    assert told == shipped


def _codes_in(cell: str) -> set[str]:
    spans = re.findall(r"(\d\d) to (\d\d)", cell)
    return {f"{n:02}" for first, last in spans for n in range(int(first), int(last) + 1)} | set(
        re.findall(r"\d\d", cell)
    )


def test_the_protocol_page_names_every_class_of_the_shipped_protocol() -> None:
    protocol = load_protocol("transitional-care")
    text = read_page("docs/reference/protocols.md").text
    covered, _, rest = text.partition("Covered classes: ")[2].partition(". Not covered: ")
    assert set(covered.split()) == protocol.covered_classes
    assert set(rest.partition("\n")[0].split()) == protocol.other_classes


@pytest.mark.parametrize("name", _HTTP_MODULES)
def test_every_problem_of_the_api_is_in_its_page(name: str) -> None:
    codes = _codes_of(importlib.import_module(name)) - set(get_args(Outcome))
    headers = {"no-store", "retry-after"}
    actions = {"give-up", "stand-down", "record-death"}
    assert _missing(codes - headers - actions, "docs/reference/http-api.md") == []


@pytest.mark.parametrize("name", _PANEL_MODULES)
def test_every_reason_of_a_panel_import_is_in_its_page(name: str) -> None:
    made = {"birth-date-unreadable", "effective-from-unreadable", "effective-to-unreadable", "sex-unknown"}
    codes = _codes_of(importlib.import_module(name)) | made
    assert _missing(codes, "docs/reference/panel-file.md") == []


def test_every_column_of_a_panel_file_is_in_its_page() -> None:
    columns = importlib.import_module(f"{_FOLLOWUP}.usecases.panel_file").COLUMNS
    assert _missing(columns, "docs/reference/panel-file.md") == []


def test_every_word_that_feeds_know_without_a_table_is_in_their_page() -> None:
    text = re.sub(r"\s+", " ", read_page("docs/reference/feeds.md").text)
    words = (*CLASSES, *CLASSES.values(), *CLASS_WORDS, *DISPOSITIONS, *DISPOSITIONS.values())
    assert [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)] == []


def test_every_feeds_file_in_the_documents_is_one_that_can_be_read() -> None:
    texts = [
        block.text
        for page in all_pages()
        for block in page.blocks("yaml", "sh")
        if re.search("^feeds:", block.text, re.MULTILINE)
    ]
    assert len(texts) >= 4
    for text in texts:
        content = re.search(r"^feeds:.*?(?=^END\w*$|\Z)", text, re.MULTILINE | re.DOTALL)
        assert content is not None
        feeds = read_feeds(content.group().encode(), file=Path("feeds.yaml"), is_charset=_is_charset)
        assert feeds.profiles


def _is_charset(label: str) -> bool:
    return resolve_charset(label) is not None


def test_every_trigger_that_is_used_is_in_the_acknowledgement_page() -> None:
    text = read_page("docs/reference/acknowledgement.md").text
    told = re.search(r"^Triggers used: (.*?)\.$", text, re.MULTILINE | re.DOTALL)
    assert told is not None
    spans = re.findall(r"A(\d\d)(?: to A(\d\d))?", told[1])
    triggers = {f"A{n:02}" for first, last in spans for n in range(int(first), int(last or first) + 1)}
    assert triggers == set(KINDS)


def test_the_limits_of_the_listener_are_those_in_the_acknowledgement_page() -> None:
    rows = dict(row[:2] for row in table_rows(read_page("docs/reference/acknowledgement.md").section("Framing")))
    limits = ServerLimits()
    assert rows["connections"] == str(limits.connections_max)
    assert rows["frame"] == f"{limits.frame_bytes_max:,} bytes"
    assert rows["bytes outside frames, per gap"] == f"{limits.junk_bytes_max:,}"
    waiting = f"{limits.in_flight_max}, or {limits.in_flight_bytes_max // 2**20} MiB"
    assert rows["messages of one connection that wait for an answer"] == waiting
    assert rows["messages of all connections"] == f"{limits.held_bytes_max // 2**20} MiB"
    assert rows[f"from the start byte to {limits.header_bytes} bytes"] == f"{limits.header_timeout_s:g} s"
    assert rows["from the start byte to the end of the frame"] == f"{limits.frame_timeout_s:g} s"
    assert rows["a connection that never sent a byte"] == f"{limits.silent_timeout_s:g} s"
    assert rows["between messages"] == f"{limits.idle_timeout_s / 3600:g} h"
    assert rows["a sender that does not read its answers"] == f"{limits.write_stalled_timeout_s:g} s"
    assert rows["connections of one address (IPv6: of 64 bits)"] == str(limits.connections_per_peer_max)
    rate, burst = f"{PEER_MESSAGES_PER_S:,.0f}", f"{BURST_S:g}"
    assert rows["messages a second of one address, beyond this machine"] == f"{rate}, and {burst} s of it at once"
    assert rows["TLS handshakes under way"] == str(limits.handshakes_max)
    assert rows["a TLS handshake"] == f"{limits.handshake_timeout_s:g} s"
    assert f"gives way after {limits.unproven_grace_s:g} s" in read_page("docs/reference/acknowledgement.md").text


def test_every_reason_of_a_handshake_and_every_warning_of_the_door_is_in_the_page_about_securing_a_feed() -> None:
    page = "docs/how-to/secure-a-feed.md"
    assert _missing(HandshakeFailure, page) == []
    assert _missing(_codes_of(mllp_door) - {"port-taken", "host-unknown"}, page) == []


def test_every_kind_of_certificate_name_is_in_the_page_about_feeds() -> None:
    text = read_page("docs/reference/feeds.md").section("Certificates")
    assert [kind for kind in CERTIFICATE_KINDS if f"`{kind}:" not in text] == []
    assert f"At most {NAMES_MAX} names" in text
