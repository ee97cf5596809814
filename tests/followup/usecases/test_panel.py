"""What an import makes of the panel: row by row, twice, in both modes, and all or nothing.

On real SQLite: the comparison is SQL.
"""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.followup.store import tables
from services.followup.store.unit_of_work import units_of
from services.followup.usecases import panel_report
from services.followup.usecases.panel_report import report_json, report_text
from services.runtime.database import read_transaction, write_transaction
from tests.support.panel_files import (
    ANA,
    BEN,
    CHI,
    NOW,
    TODAY,
    YESTERDAY,
    counts,
    import_panel,
    write_panel,
)

NUMBERED = {**ANA, "identifiers": "1001^^^MERCY^MR~1EG4^^^CMS^MC"}
PLACED = {**ANA, "practice": "North", "program": "tcm", "effective_from": "2026-01-01"}


def rows(engine: sa.Engine, *columns: sa.ColumnElement[object]) -> list[tuple[object, ...]]:
    with read_transaction(engine) as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns))]


def people(engine: sa.Engine) -> list[tuple[object, ...]]:
    table = tables.patient.c
    return rows(engine, table.id, table.family, table.phone)


def memberships(engine: sa.Engine) -> list[tuple[object, ...]]:
    table = tables.panel_membership.c
    return rows(engine, table.patient_id, table.practice, table.effective_from, table.effective_to, table.pcp)


def identifiers(engine: sa.Engine) -> list[tuple[object, ...]]:
    table = tables.patient_identifier.c
    return rows(engine, table.patient_id, table.authority, table.value, table.type)


def everything(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    """Return all that an import could touch."""
    touched = ("patient", "patient_identifier", "panel_membership", "match_key", "panel_import", "due", "audit_event")
    return {name: rows(engine, *tables.metadata.tables[name].c) for name in touched}


def test_new_people_are_added(engine: sa.Engine, tmp_path: Path) -> None:
    report = import_panel(engine, write_panel(tmp_path, NUMBERED, BEN))

    assert (report.loaded, counts(report)) == (True, {"added": 2})
    assert people(engine) == [("ana", "Rivera", None), ("ben", "Okafor", None)]
    assert identifiers(engine) == [("ana", "CMS", "1EG4", "MC"), ("ana", "MERCY", "1001", "MR")]
    assert memberships(engine) == [("ana", None, None, None, None), ("ben", None, None, None, None)]


def test_the_same_file_again_changes_nothing_at_all(engine: sa.Engine, tmp_path: Path) -> None:
    path = write_panel(tmp_path, NUMBERED, PLACED | {"identifiers": NUMBERED["identifiers"]}, BEN)
    import_panel(engine, path)
    before = everything(engine)

    for mode in ("merge", "replace"):
        report = import_panel(engine, path, mode=mode)
        assert (report.loaded, report.accepted, counts(report)) == (False, True, {"unchanged": 3})
        assert everything(engine) == before


def test_a_dry_run_says_the_same_and_does_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, ANA))
    before = everything(engine)
    path = write_panel(tmp_path, ANA | {"phone": "217-483-0142"}, BEN)

    dry = import_panel(engine, path, dry_run=True)

    assert (dry.loaded, dry.accepted, counts(dry)) == (False, True, {"added": 1, "changed": 1})
    assert everything(engine) == before
    wet = import_panel(engine, path)
    assert replace(wet, dry_run=True, loaded=False) == dry


def test_what_changed_is_changed(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, NUMBERED | {"phone": "1"}, BEN | {"phone": "2"}))
    new = NUMBERED | {"phone": "3", "identifiers": "1EG4^^^CMS^MC~2002^^^LAKE^MR"}

    report = import_panel(engine, write_panel(tmp_path, new, BEN | {"phone": "2"}))

    assert counts(report) == {"changed": 1, "unchanged": 1}
    assert [(one.row, one.patient_id, one.outcome) for one in report.results] == [
        (2, "ana", "changed"),
        (3, "ben", "unchanged"),
    ]
    assert people(engine) == [("ana", "Rivera", "3"), ("ben", "Okafor", "2")]
    assert identifiers(engine) == [("ana", "CMS", "1EG4", "MC"), ("ana", "LAKE", "2002", "MR")]


def test_what_has_no_column_stays_and_an_empty_cell_empties(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, NUMBERED | {"phone": "1", "street": "12 Oak St", "practice": "North"}))

    assert counts(import_panel(engine, write_panel(tmp_path, ANA))) == {"unchanged": 1}
    assert counts(import_panel(engine, write_panel(tmp_path, ANA | {"phone": ""}))) == {"changed": 1}
    assert people(engine) == [("ana", "Rivera", None)]
    assert len(identifiers(engine)) == 2
    assert memberships(engine) == [("ana", "North", None, None, None)]
    assert counts(import_panel(engine, write_panel(tmp_path, ANA | {"identifiers": ""}))) == {"changed": 1}
    assert identifiers(engine) == []


def test_merge_leaves_who_is_missing(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, ANA, BEN))
    assert counts(import_panel(engine, write_panel(tmp_path, CHI))) == {"added": 1}
    assert [one[3] for one in memberships(engine)] == [None, None, None]


def test_replace_ends_who_is_missing_and_keeps_their_past(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, ANA, BEN))

    report = import_panel(engine, write_panel(tmp_path, ANA), mode="replace", drop_share_max=0.5)

    assert counts(report) == {"unchanged": 1, "ended": 1}
    assert [(one.row, one.patient_id, one.outcome) for one in report.results] == [
        (2, "ana", "unchanged"),
        (None, "ben", "ended"),
    ]
    assert memberships(engine) == [("ana", None, None, None, None), ("ben", None, None, YESTERDAY, None)]
    again = import_panel(engine, write_panel(tmp_path, ANA), mode="replace")
    assert (again.loaded, counts(again)) == (False, {"unchanged": 1})


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_who_comes_back_is_on_the_panel_again(engine: sa.Engine, tmp_path: Path, mode: str) -> None:
    import_panel(engine, write_panel(tmp_path, ANA, BEN))
    import_panel(engine, write_panel(tmp_path, ANA), mode="replace", drop_share_max=1)

    assert counts(import_panel(engine, write_panel(tmp_path, ANA, BEN), mode=mode)) == {"changed": 1, "unchanged": 1}
    assert [one[3] for one in memberships(engine)] == [None, None]


def test_an_end_to_come_is_kept_by_a_file_without_ends(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, PLACED | {"effective_to": "2026-12-31", "pcp": "A"}))
    assert counts(import_panel(engine, write_panel(tmp_path, PLACED))) == {"unchanged": 1}
    assert counts(import_panel(engine, write_panel(tmp_path, PLACED | {"pcp": "B"}))) == {"changed": 1}
    assert memberships(engine) == [("ana", "North", date(2026, 1, 1), date(2026, 12, 31), "B")]


def test_an_end_that_a_row_states_is_not_undone(engine: sa.Engine, tmp_path: Path) -> None:
    past = write_panel(tmp_path, PLACED | {"effective_to": "2026-10-31"})
    import_panel(engine, past)
    assert counts(import_panel(engine, past)) == {"unchanged": 1}
    assert memberships(engine)[0][3] == date(2026, 10, 31)


@pytest.mark.parametrize(("on_panel", "missing", "refused"), [(20, 2, False), (20, 3, True), (5, 1, True)])
def test_replace_refuses_to_drop_more_than_a_tenth(
    engine: sa.Engine, tmp_path: Path, on_panel: int, missing: int, refused: bool
) -> None:
    everybody = [ANA | {"patient_id": f"p{n}"} for n in range(on_panel)]
    import_panel(engine, write_panel(tmp_path, *everybody))
    before = everything(engine)

    report = import_panel(engine, write_panel(tmp_path, *everybody[missing:]), mode="replace")

    assert (report.refusal is not None) is refused
    assert report.loaded is not refused
    assert report.ended == missing
    if refused:
        assert report.refusal is not None
        assert report.refusal.code == "replace-drops-too-many"
        assert everything(engine) == before


def test_who_was_gone_already_is_not_dropped_again(engine: sa.Engine, tmp_path: Path) -> None:
    gone = [ANA | {"patient_id": f"p{n}", "effective_to": "2026-10-31"} for n in range(9)]
    import_panel(engine, write_panel(tmp_path, BEN | {"effective_to": ""}, *gone))
    report = import_panel(engine, write_panel(tmp_path, BEN | {"effective_to": ""}), mode="replace")
    assert (report.accepted, counts(report)) == (True, {"unchanged": 1})


def test_two_rows_of_one_patient_are_two_memberships(engine: sa.Engine, tmp_path: Path) -> None:
    path = write_panel(
        tmp_path,
        PLACED,
        PLACED | {"practice": "South"},
        PLACED | {"effective_from": "2024-01-01", "effective_to": "2024-12-31"},
    )
    assert counts(import_panel(engine, path)) == {"added": 3}
    assert memberships(engine) == [
        ("ana", "North", date(2024, 1, 1), date(2024, 12, 31), None),
        ("ana", "North", date(2026, 1, 1), None, None),
        ("ana", "South", date(2026, 1, 1), None, None),
    ]
    assert counts(import_panel(engine, path)) == {"unchanged": 3}


def test_another_practice_is_another_membership_and_replace_ends_the_old_one(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, PLACED))
    moved = write_panel(tmp_path, PLACED | {"practice": "South", "effective_from": "2026-11-01"})

    assert counts(import_panel(engine, moved)) == {"changed": 1}
    assert len(memberships(engine)) == 2
    report = import_panel(engine, moved, mode="replace")
    assert counts(report) == {"unchanged": 1, "ended": 1}
    assert [one[1:4] for one in memberships(engine)] == [
        ("North", date(2026, 1, 1), YESTERDAY),
        ("South", date(2026, 11, 1), None),
    ]


def test_the_end_and_the_doctor_of_a_membership_change_in_place(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, PLACED | {"pcp": "Dr Lee", "effective_to": ""}))
    report = import_panel(engine, write_panel(tmp_path, PLACED | {"pcp": "Dr Wu", "effective_to": "2026-12-31"}))
    assert counts(report) == {"changed": 1}
    assert memberships(engine) == [("ana", "North", date(2026, 1, 1), date(2026, 12, 31), "Dr Wu")]
    kept = import_panel(engine, write_panel(tmp_path, PLACED))  # has no column for either
    assert counts(kept) == {"unchanged": 1}


def test_a_row_that_repeats_another_is_said_to(engine: sa.Engine, tmp_path: Path) -> None:
    report = import_panel(engine, write_panel(tmp_path, ANA, BEN, ANA))
    assert counts(report) == {"added": 2, "unchanged": 1}
    assert report.results[2].text == "repeats row 2"
    assert len(memberships(engine)) == 2
    moved = ANA | {"practice": "South"}
    assert counts(import_panel(engine, write_panel(tmp_path, moved, moved))) == {"changed": 1, "unchanged": 1}
    assert len(memberships(engine)) == 3


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (ANA, ANA | {"family": "Rivers"}, "contradicts-person"),
        (ANA | {"phone": ""}, ANA | {"phone": "1"}, "contradicts-person"),
        (NUMBERED, ANA | {"identifiers": "7^^^MERCY^MR"}, "contradicts-person"),
        (PLACED | {"pcp": "A"}, PLACED | {"pcp": "B"}, "contradicts-membership"),
        (PLACED | {"effective_to": ""}, PLACED | {"effective_to": "2026-12-31"}, "contradicts-membership"),
    ],
)
def test_rows_that_contradict_each_other_refuse_the_file(
    engine: sa.Engine, tmp_path: Path, first: dict[str, str], second: dict[str, str], reason: str
) -> None:
    report = import_panel(engine, write_panel(tmp_path, BEN, first, second))
    assert counts(report) == {"added": 2, "rejected": 1}
    rejected = report.results[2]
    assert (rejected.row, rejected.outcome, rejected.reason) == (4, "rejected", reason)
    assert "row 3" in (rejected.text or "")
    assert people(engine) == []


def test_the_order_of_identifiers_is_no_contradiction(engine: sa.Engine, tmp_path: Path) -> None:
    turned = ANA | {"identifiers": "1EG4^^^CMS^MC~1001^^^MERCY^MR~1001^^^MERCY^MR"}
    assert counts(import_panel(engine, write_panel(tmp_path, NUMBERED))) == {"added": 1}
    assert counts(import_panel(engine, write_panel(tmp_path, turned))) == {"unchanged": 1}


def test_one_wrong_row_refuses_the_whole_file(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, ANA))
    before = everything(engine)
    wrong = [BEN | {"birth_date": "soon"}, CHI, BEN | {"given": ""}]

    report = import_panel(engine, write_panel(tmp_path, *wrong), mode="replace", drop_share_max=1)

    assert report.refusal is not None
    assert report.refusal.code == "rows-rejected"
    assert counts(report) == {"added": 1, "rejected": 2}
    assert [(one.row, one.outcome) for one in report.results] == [(2, "rejected"), (3, "added"), (4, "rejected")]
    assert everything(engine) == before


def test_a_file_without_rows_is_refused(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, ANA))
    report = import_panel(engine, write_panel(tmp_path), mode="replace", drop_share_max=1)
    assert report.refusal is not None
    assert (report.refusal.code, report.rows) == ("no-rows", 0)
    assert len(people(engine)) == 1


def spread(engine: sa.Engine, *, stays_each: int) -> int:
    """Go all the way from the latest load to the stays that it may concern; return in how many steps."""
    begin, steps, more = units_of(engine), 0, True
    while more:
        steps += 1
        with begin() as unit:
            more = unit.dues.spread(stays_each)
    assert rows(engine, tables.panel_rematch.c.id) == []
    return steps


def test_a_load_leaves_an_audit_row_and_looks_at_every_stay_again(engine: sa.Engine, tmp_path: Path) -> None:
    with write_transaction(engine) as connection:
        add_stays(connection, "s1", "s2", "s3")
        dues = [
            {"kind": "rematch", "stay_id": "s2", "due_at": NOW - timedelta(hours=1)},
            {"kind": "rematch", "stay_id": "s3", "due_at": NOW + timedelta(hours=1)},
            {"kind": "recheck", "stay_id": "s3", "due_at": NOW + timedelta(hours=1)},
        ]
        connection.execute(sa.insert(tables.due), dues)

    import_panel(engine, write_panel(tmp_path, ANA))
    steps = spread(engine, stays_each=2)

    assert steps == 3  # one to wait for who looked at the panel before, then two stays, then one
    due = tables.due.c
    assert rows(engine, due.kind, due.stay_id, due.due_at) == [
        ("recheck", "s3", NOW + timedelta(hours=1)),
        ("rematch", "s1", NOW),
        ("rematch", "s2", NOW - timedelta(hours=1)),
        ("rematch", "s3", NOW),
    ]
    audit = tables.audit_event.c
    ((at, actor, action, entity, detail),) = rows(
        engine, audit.at, audit.actor, audit.action, audit.entity, audit.detail
    )
    assert (at, actor, action, entity) == (NOW, "tester", "panel-imported", "panel_import:1")
    assert json.loads(str(detail)) | {"sha256": ""} == {
        "mode": "merge", "sha256": "", "rows": 1, "added": 1, "changed": 0, "ended": 0,
    }  # fmt: skip


def test_the_import_is_kept_with_the_rows_it_brought(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, ANA, BEN))
    kept, member = tables.panel_import.c, tables.panel_membership.c
    assert rows(engine, kept.file_name, kept.mode, kept.row_count, kept.imported_at, kept.imported_by) == [
        ("panel.csv", "merge", 2, NOW, "tester")
    ]
    assert rows(engine, member.patient_id, member.import_id, member.source_row) == [("ana", 1, 2), ("ben", 1, 3)]


def test_without_a_day_given_the_panel_counts_in_utc(engine: sa.Engine, tmp_path: Path) -> None:
    import_panel(engine, write_panel(tmp_path, ANA, BEN))
    import_panel(engine, write_panel(tmp_path, ANA), mode="replace", drop_share_max=1, today=None)
    assert memberships(engine)[1][3] == NOW.date() - timedelta(days=1)
    assert NOW.date() == TODAY


def test_a_report_is_read_by_programs(engine: sa.Engine, tmp_path: Path) -> None:
    report = import_panel(engine, write_panel(tmp_path, ANA, BEN | {"sex": "?"}), dry_run=True)
    assert json.loads(report_json(report)) == {
        "file": "panel.csv",
        "mode": "merge",
        "dry_run": True,
        "loaded": False,
        "refused": {
            "code": "rows-rejected",
            "text": "1 of 2 rows cannot be loaded; a file is loaded as a whole or not at all",
        },
        "rows": 2,
        "counts": {"added": 1, "changed": 0, "unchanged": 0, "ended": 0, "rejected": 1},
        "results": [
            {"row": 2, "patient_id": "ana", "outcome": "added"},
            {
                "row": 3,
                "outcome": "rejected",
                "reason": "sex-unknown",
                "text": "sex is none of M, F, U, O, 1, 2 or 9",
            },
        ],
        "results_omitted": 0,
    }


def test_a_report_is_read_by_people(engine: sa.Engine, tmp_path: Path) -> None:
    good, bad = write_panel(tmp_path, ANA), BEN | {"given": ""}
    assert "dry run" in report_text(import_panel(engine, good, dry_run=True))
    assert report_text(import_panel(engine, good)) == (
        "panel.csv: loaded\n1 rows: 1 added, 0 changed, 0 unchanged, 0 ended, 0 rejected"
    )
    assert "nothing changed" in report_text(import_panel(engine, good))
    text = report_text(import_panel(engine, write_panel(tmp_path, bad)))
    assert "nothing was loaded" in text
    assert "row 2: rejected: given is empty [value-missing]" in text


def test_a_report_lists_so_many_rows_and_counts_all(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.followup.usecases.panel.RESULTS_MAX", 3)
    monkeypatch.setattr(panel_report, "RESULTS_PRINTED_MAX", 1)
    fine = [ANA | {"patient_id": f"p{n}"} for n in range(4)]

    report = import_panel(engine, write_panel(tmp_path, *fine, BEN | {"given": ""}, BEN | {"given": ""}))

    assert [one.row for one in report.results] == [2, 6, 7]
    assert (report.rows, report.rejected, report.results_omitted) == (6, 2, 3)
    assert "and 1 more" in report_text(report)


def add_stays(connection: sa.Connection, *ids: str) -> None:
    """Add stays of which nothing is known."""
    source = connection.execute(sa.insert(tables.source_patient).values(key="k")).inserted_primary_key
    values = {
        "source_patient_id": source[0] if source else None, "status": "finished", "view": "{}", "match_state": "",
        "match": "", "follow_up": "", "outcome": "", "outcome_reason": "", "updated_at": NOW,
    }  # fmt: skip
    connection.execute(sa.insert(tables.stay), [{"id": one} | values for one in ids])
