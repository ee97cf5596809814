import pytest

from services.followup.domain.dispositions import disposition_words
from services.followup.protocols.loading import load_protocol


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, None),
        ("", None),
        ("01", "home"),
        ("1", None),
        ("07", "left against medical advice"),
        ("12", "destination unknown"),
        ("20", "died"),
        ("21", "court or law enforcement, or died (codes differ by state)"),
        ("25", "defined by the state, or died"),
        ("30", "still a patient"),
        ("39", "still a patient"),
        ("81", "home, readmission planned"),
        ("87", "court or law enforcement, or died (codes differ by state), readmission planned"),
        ("95", "another kind of health care institution, readmission planned"),
        ("96", None),
        ("HOME", None),
    ],
)
def test_a_disposition_in_words(code: str | None, words: str | None) -> None:
    assert disposition_words(code) == words


def test_every_code_that_the_shipped_protocol_knows_has_words() -> None:
    protocol = load_protocol("transitional-care")
    known = [
        code
        for code in (f"{n:02d}" for n in range(100))
        if protocol.disposition_rule(code) != protocol.disposition_rule(None)
    ]
    assert len(known) > 50
    assert [code for code in known if disposition_words(code) is None] == []


def test_a_planned_readmission_says_what_its_twin_says() -> None:
    protocol = load_protocol("transitional-care")
    for code in (f"{n:02d}" for n in range(81, 96)):
        words = disposition_words(code)
        assert words is not None
        twin = words.removesuffix(", readmission planned")
        twins = [f"{n:02d}" for n in range(81) if disposition_words(f"{n:02d}") == twin]
        names = {protocol.disposition_rule(each).name for each in twins}
        assert protocol.disposition_rule(code).name in names
