"""Panel files as programs write them: what is read, and what is said about the rest (fault B41)."""

import hashlib
import io
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.followup.domain.demographics import Identifier
from services.followup.usecases import panel_file
from services.followup.usecases.panel_cells import read_date
from services.followup.usecases.panel_file import COLUMNS, PanelFile, open_panel_file
from services.followup.usecases.panel_ports import PanelRow, RowResult
from services.runtime.errors import Permanent
from tests.support.panel_files import ANA, BEN, TODAY, panel_text

HEADER = "patient_id,family,given,birth_date\n"
SECRET = "Xanthippe"


def read(text: str | bytes) -> list[PanelRow | RowResult]:
    source = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return list(PanelFile(source, TODAY).rows())


def read_one(**cells: str) -> PanelRow | RowResult:
    (row,) = read(panel_text([{**ANA, **cells}]))
    return row


def good(row: PanelRow | RowResult) -> PanelRow:
    assert isinstance(row, PanelRow), row
    return row


def reasons(text: str | bytes) -> list[tuple[int | None, str | None]]:
    return [(row.row, row.reason) for row in read(text) if isinstance(row, RowResult)]


WRITTEN = {
    "comma": panel_text([ANA]).encode(),
    "semicolon": panel_text([ANA], delimiter=";").encode(),
    "tab": panel_text([ANA], delimiter="\t").encode(),
    "pipe": panel_text([ANA], delimiter="|").encode(),
    "byte order mark": b"\xef\xbb\xbf" + panel_text([ANA]).encode(),
    "CRLF": panel_text([ANA]).replace("\n", "\r\n").encode(),
    "no last line end": panel_text([ANA]).strip().encode(),
    "upper case": panel_text([ANA]).replace("patient_id,family", "PATIENT_ID,Family").encode(),
    "spaces and hyphens": panel_text([ANA]).replace("patient_id,family", " Patient-ID , family ").encode(),
    "another order": b"given,birth_date,patient_id,family\nAna,1952-03-14,ana,Rivera\n",
    "quoted": b'"patient_id","family","given","birth_date"\n"ana","Rivera","Ana","1952-03-14"\n',
    "separators behind": b"patient_id,family,given,birth_date,,\nana,Rivera,Ana,1952-03-14,,\n",
    "blank lines": b"patient_id,family,given,birth_date\n\n,,,\nana,Rivera,Ana,1952-03-14\n\n",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=list(WRITTEN))
def test_a_file_is_read_whatever_program_wrote_it(text: bytes) -> None:
    (row,) = read(text)
    row = good(row)
    assert (row.patient_id, row.family, row.given, row.birth_date) == ("ana", "Rivera", "Ana", date(1952, 3, 14))


def test_rows_are_counted_as_spreadsheets_do() -> None:
    text = HEADER + 'ana,"Rivera\nSoto",Ana,1952-03-14\n\nben,Okafor,Ben,1960-07-01\n'
    ana, ben = (good(row) for row in read(text))
    assert (ana.row, ana.family, ben.row) == (2, "Rivera Soto", 4)
    assert [good(row).row for row in read("sep=,\n" + HEADER + "ana,Rivera,Ana,1952-03-14\n")] == [3]


def test_every_column_is_read() -> None:
    cells = {
        "middle": "M", "suffix": "Jr", "sex": "2", "street": "12 Oak St", "city": "Springfield", "state": "IL",
        "zip": "62701-1234", "phone": "(217) 483-0142 x7", "ssn4": "219-01-4821", "language": "es",
        "interpreter": "yes", "pcp": "Dr Lee", "practice": "North", "program": "tcm", "guardian_name": "Luz Rivera",
        "guardian_relation": "mother", "guardian_phone": "217-483-0143",
        "identifiers": "1001^^^MERCY&1.2.3&ISO^MR~1EG4^^^CMS^MC", "effective_from": "11/01/2026",
        "effective_to": "20271231",
    }  # fmt: skip
    row = good(read_one(**cells))
    assert set(cells) | set(ANA) == set(COLUMNS)
    assert row == PanelRow(
        row=2,
        patient_id="ana",
        family="Rivera",
        given="Ana",
        middle="M",
        suffix="Jr",
        birth_date=date(1952, 3, 14),
        sex="F",
        street="12 Oak St",
        city="Springfield",
        state="IL",
        zip="62701-1234",
        phone="(217) 483-0142 x7",
        ssn4="4821",
        language="es",
        interpreter=True,
        guardian_name="Luz Rivera",
        guardian_relation="mother",
        guardian_phone="217-483-0143",
        identifiers=(
            Identifier(authority="CMS", value="1EG4", type="MC"),
            Identifier(authority="MERCY", value="1001", type="MR"),
        ),
        effective_from=date(2026, 11, 1),
        effective_to=date(2027, 12, 31),
        practice="North",
        pcp="Dr Lee",
        program="tcm",
    )


def test_control_characters_vanish_and_other_invisible_ones_are_kept() -> None:
    assert good(read_one(family="Ri\x07ve\x9fra", given="A\u200bna")).family == "Rivera"
    assert good(read_one(given="A\u200bna")).given == "A\u200bna"


def test_what_is_empty_is_absent() -> None:
    row = good(read_one(middle=" ", sex="", identifiers="", effective_from=""))
    assert (row.middle, row.sex, row.identifiers, row.effective_from, row.practice) == (None, None, (), None, None)


DATES = {
    "1952-03-14": date(1952, 3, 14),
    "19520314": date(1952, 3, 14),
    "03/14/1952": date(1952, 3, 14),
    "3/4/1952": date(1952, 3, 4),
    "1952-03-14 00:00:00": date(1952, 3, 14),
    "3/14/1952 0:00": date(1952, 3, 14),
    "3/14/52": None,
    "14/03/1952": None,
    "1952-02-30": None,
    "19066": None,
    "14-Mar-52": None,
    "########": None,
    "1952": None,
    "": None,
}


@pytest.mark.parametrize(("text", "expected"), DATES.items())
def test_dates_are_read_in_three_dialects_and_guessed_in_none(text: str, expected: date | None) -> None:
    assert read_date(text) == expected


CELLS: dict[str, tuple[dict[str, str], str]] = {
    "no patient id": ({"patient_id": ""}, "value-missing"),
    "no given name": ({"given": " "}, "value-missing"),
    "no birth date": ({"birth_date": ""}, "value-missing"),
    "an unreadable birth date": ({"birth_date": "3/14/52"}, "birth-date-unreadable"),
    "a birth date to come": ({"birth_date": "2026-11-25"}, "birth-date-in-future"),
    "a birth date of another age": ({"birth_date": "1052-03-14"}, "birth-date-impossible"),
    "an unreadable period": ({"effective_from": "soon"}, "effective-from-unreadable"),
    "a period that ends before it begins": (
        {"effective_from": "2026-02-01", "effective_to": "2026-01-31"},
        "period-reversed",
    ),
    "a sex of no dialect": ({"sex": "X9"}, "sex-unknown"),
    "an interpreter of no dialect": ({"interpreter": "maybe"}, "interpreter-unknown"),
    "an SSN-4 of five digits": ({"ssn4": "12345"}, "ssn4-unreadable"),
    "a patient id in powers of ten": ({"patient_id": "1.23457E+11"}, "number-mangled"),
    "an identifier in powers of ten": ({"identifiers": "1.2E+09^^^MERCY^MR"}, "number-mangled"),
    "an identifier without authority": ({"identifiers": "1001"}, "identifier-without-authority"),
    "an identifier without value": ({"identifiers": "^^^MERCY^MR"}, "identifier-empty"),
    "too many identifiers": (
        {"identifiers": "~".join(f"{n}^^^M^MR" for n in range(1, 42))},
        "too-many-identifiers",
    ),
    "a name as long as a letter": ({"family": "x" * 201}, "too-long"),
    "a patient id too long to be one": ({"patient_id": "x" * 65}, "too-long"),
    "a NUL": ({"family": "Ri\0vera"}, "nul-character"),
}


@pytest.mark.parametrize(("cells", "reason"), CELLS.values(), ids=list(CELLS))
def test_a_wrong_cell_rejects_its_row_with_a_reason(cells: dict[str, str], reason: str) -> None:
    row = read_one(**cells)
    assert isinstance(row, RowResult)
    assert (row.row, row.outcome, row.reason) == (2, "rejected", reason)


def test_everything_wrong_with_a_row_is_said_and_nothing_that_it_said() -> None:
    row = read_one(patient_id=SECRET * 9, given="", birth_date=SECRET, sex=SECRET, identifiers=SECRET, ssn4=SECRET)
    assert isinstance(row, RowResult)
    assert row.text is not None
    for column in ("patient_id", "given", "birth_date", "sex", "identifiers", "ssn4"):
        assert column in row.text
    assert SECRET not in repr(row)


def test_a_medicare_number_needs_no_authority() -> None:
    assert good(read_one(identifiers="1EG4^^^^MC")).identifiers == (
        Identifier(authority=None, value="1EG4", type="MC"),
    )


@pytest.mark.parametrize(
    ("cells", "ssn4"),
    [
        ({"ssn4": "***-**-4821"}, "4821"),
        ({"ssn4": "821"}, "0821"),
        ({"identifiers": "219-01-4821^^^SSA^SS"}, "4821"),
        ({"identifiers": "219014821^^^^SS", "ssn4": "1111"}, "1111"),
    ],
)
def test_of_a_social_security_number_only_four_digits_are_kept(cells: dict[str, str], ssn4: str) -> None:
    row = good(read_one(**cells))
    assert (row.ssn4, row.identifiers) == (ssn4, ())


def test_a_row_of_another_width_is_rejected_and_the_next_is_read() -> None:
    text = panel_text([ANA]) + "cy,Smith, Jr,Cy,1990-01-01\nben,Okafor\n" + "ben,Okafor,Ben,1960-07-01\n"
    assert reasons(text) == [(3, "wrong-width"), (4, "wrong-width")]
    assert isinstance(read(text)[-1], PanelRow)


BROKEN = {
    "Latin-1": (panel_text([ANA, BEN]).replace("Okafor", "Böhm").encode("latin-1"), [(3, "not-utf-8")]),
    "a quotation mark left open": ((panel_text([ANA]) + 'ben,"Okafor,Ben,1960-07-01\n'), [(3, "quoting-broken")]),
    "a quotation mark within": ((panel_text([ANA]) + 'ben,"Oka"for,Ben,1960-07-01\n'), [(3, "quoting-broken")]),
    "a cell without end": (panel_text([ANA]) + 'ben,"' + "x" * 200_000, [(3, "quoting-broken")]),
    "a line without end": (panel_text([ANA]).encode() + b"x" * 2_000_000, [(3, "line-too-long")]),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=list(BROKEN))
def test_what_cannot_be_parted_into_rows_ends_the_file(text: str | bytes, expected: list[Any]) -> None:
    assert reasons(text) == expected


NO_PANEL = {
    "an empty file": (b"", "panel-file-empty"),
    "a byte order mark only": (b"\xef\xbb\xbf", "panel-header-wrong"),
    "UTF-16": (panel_text([ANA]).encode("utf-16"), "panel-file-not-text"),
    "line ends of an old Macintosh": (panel_text([ANA]).replace("\n", "\r").encode(), "panel-file-not-text"),
    "a binary": (b"PK\x03\x04\xff\xfe\x00", "panel-file-not-text"),
    "no header": (f"ana,{SECRET},Ana,1952-03-14\n".encode(), "panel-header-wrong"),
    "a column missing": (b"patient_id,family,given\n", "panel-header-wrong"),
    "a column unknown": (b"patient_id,family,given,birth_date,phnoe\n", "panel-header-wrong"),
    "a column twice": (b"patient_id,family,given,birth_date,Given\n", "panel-header-wrong"),
}


@pytest.mark.parametrize(("text", "code"), NO_PANEL.values(), ids=list(NO_PANEL))
def test_what_is_no_panel_is_refused_before_its_first_row(text: bytes, code: str) -> None:
    with pytest.raises(Permanent) as error:
        read(text)
    assert error.value.code == code
    assert SECRET not in str(error.value)


def test_an_unknown_column_is_named_and_a_missing_one_too() -> None:
    with pytest.raises(Permanent, match="'phnoe'"):
        read("patient_id,family,given,birth_date,phnoe\n")
    with pytest.raises(Permanent, match="lacks given, birth_date"):
        read("patient_id;family;sex\n")


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Any) -> None:
    with pytest.raises(Permanent, match="No such file"):
        open_panel_file(tmp_path / "nowhere.csv")
    with pytest.raises(Permanent, match="directory"):
        open_panel_file(tmp_path)


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_file, "ROWS_MAX", 2)
    assert reasons(panel_text([ANA, BEN])) == []
    assert reasons(panel_text([ANA, BEN, ANA, ANA])) == [(4, "too-many-rows")]


def test_the_digest_is_that_of_the_file() -> None:
    text = panel_text([ANA, BEN]).encode()
    file = PanelFile(io.BytesIO(text), TODAY)
    assert len(list(file.rows())) == 2
    assert file.sha256 == hashlib.sha256(text).hexdigest()
    assert file.stated == frozenset(ANA)


@given(st.binary(max_size=200) | st.text(alphabet='",;\n\r\t|aé\0 1', max_size=60).map(str.encode))
def test_any_bytes_behind_a_header_give_rows_or_reasons(text: bytes) -> None:
    for row in read(HEADER.encode() + text):
        assert isinstance(row, PanelRow) or (row.reason and row.text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_panel_or_are_refused(text: bytes) -> None:
    with suppress(Permanent):
        read(text)
