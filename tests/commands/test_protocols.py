from tests.commands.conftest import Afterstay


def test_due_dates_are_a_list_in_the_order_given(afterstay: Afterstay) -> None:
    times = ("2026-11-25T09:00", "2026-11-20T14:30")

    said = afterstay("protocols", "due", "transitional-care", "--zone", "America/New_York", "--json", *times)

    assert said.code == 0
    assert [one["discharged"] for one in said.json] == list(times)
    contact = said.json[1]["tasks"][0]
    assert contact == {
        "kind": "contact",
        "due_on": "2026-11-24",
        "last_on": "2026-11-24",
        "due_at": "2026-11-25T05:00:00Z",
        "work_by": "2026-11-24",
    }


def test_flags_may_stand_after_the_times(afterstay: Afterstay) -> None:
    said = afterstay("protocols", "due", "transitional-care", "2026-11-20", "--zone", "America/New_York", "--json")
    assert said.code == 0
    assert len(said.json) == 1


def test_what_is_wrong_is_said_in_one_line(afterstay: Afterstay) -> None:
    for words in (("transitional-care", "--zone", "Mars/Olympus", "2026-11-20"),
                  ("transitional-care", "--zone", "America/New_York", "yesterday"),
                  ("no-such-protocol", "--zone", "America/New_York", "2026-11-20")):  # fmt: skip
        said = afterstay("protocols", "due", *words, "--json")
        assert said.code == 1
        assert said.out == ""
        assert said.err.startswith("afterstay: ")
        assert len(said.err.splitlines()) == 1
