import pytest

from services.followup.web.phones import dialable


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("212-555-0147", "tel:+12125550147"),
        ("(212) 555-0147", "tel:+12125550147"),
        ("(212)555-0147", "tel:+12125550147"),
        ("212.555.0147", "tel:+12125550147"),
        ("2125550147", "tel:+12125550147"),
        ("12125550147", "tel:+12125550147"),
        ("+1 212 555 0147", "tel:+12125550147"),
        ("1-212-555-0147", "tel:+12125550147"),
        (" 212 555 0147 ", "tel:+12125550147"),
        ("212-555-0147 x12", "tel:+12125550147;ext=12"),
        ("212-555-0147 ext. 4021", "tel:+12125550147;ext=4021"),
    ],
)
def test_an_ordinary_number_becomes_a_link(text: str, link: str) -> None:
    assert dialable(text) == link


@pytest.mark.parametrize(
    "text",
    [
        "",
        "N/A",
        "none",
        "911",
        "555-0147",
        "112-555-0147",
        "212-155-0147",
        "011-44-20-7946-0958",
        "+44 20 7946 0958",
        "900-555-0147",
        "212-976-0147",
        "411-555-0147",
        "212-911-0147",
        "2222222222",
        "000-000-0000",
        "1" * 30,
        "212-555-0147 or 0148",
        "212-555-0147;phone-context=evil",
        "tel:212-555-0147",
        "javascript:alert(1)",
        "<script>",
        "\N{FULLWIDTH DIGIT TWO}12-555-0147",
        "\N{ARABIC-INDIC DIGIT TWO}12-555-0147",
        "212\n555\n0147",
    ],
)
def test_what_may_not_be_an_ordinary_number_becomes_no_link(text: str) -> None:
    assert dialable(text) is None
