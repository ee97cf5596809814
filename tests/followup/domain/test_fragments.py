"""Fragments join like a semilattice, and what they tell does not depend on who came first."""

from functools import reduce
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.followup.domain.fragments import Fragment, fragment_of, join
from services.followup.domain.statements import Statement
from tests.support.stated import fragments_of, state, stays_of

TIMES = [f"2026-11-{day:02d} {hour:02d}:00" for day in (16, 17, 18) for hour in (8, 14, 20)] + ["2026-11-17"]
TRIGGERS = ["A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A11", "A12", "A13"]


@st.composite
def statements(draw: st.DrawFn, *, number: bool | None = None, admitted: bool | None = None) -> Statement:
    """Any message about one patient: few distinct times, so that statements meet."""
    trigger = draw(st.sampled_from(TRIGGERS))
    numbered = draw(st.booleans()) if number is None else number
    with_admit = draw(st.booleans()) if admitted is None else admitted
    said: dict[str, object] = {
        "number": "V1" if numbered else None,
        "admitted": "2026-11-16 08:00" if with_admit else None,
        "discharged": draw(st.none() | st.sampled_from(TIMES)),
        "happened": draw(st.none() | st.sampled_from(TIMES)),
        "seconds": draw(st.integers(0, 3)),
        "received": draw(st.integers(1, 9)),
        "live": draw(st.booleans()),
        "movement": draw(st.none() | st.sampled_from(["M1", "M2"])),
        "discharge_deleted": draw(st.booleans()) and trigger == "A08",
    }
    if draw(st.booleans()):
        said["disposition"] = draw(st.sampled_from(["01", "03", "20", "30", None]))
    if draw(st.booleans()):
        said["class_"] = draw(st.sampled_from(["IMP", "EMER"]))
    sent = draw(st.sampled_from(TIMES[:9]))
    content = {name: value for name, value in said.items() if name != "received"}
    return state(
        trigger, sent, **said, event_id=str(sorted(content.items(), key=str))
    )  # the same bytes, the same event


same_key = st.lists(statements(number=True, admitted=True), min_size=3, max_size=3).map(
    lambda three: [fragment_of(one) for one in three]
)


@given(same_key)
def test_join_is_commutative(three: list[Fragment]) -> None:
    for left, right in pairwise(three):
        assert join(left, right) == join(right, left)


@given(same_key)
def test_join_is_associative(three: list[Fragment]) -> None:
    one, two, last = three
    assert join(join(one, two), last) == join(one, join(two, last))


@given(same_key)
def test_join_is_idempotent(three: list[Fragment]) -> None:
    whole = reduce(join, three)
    assert join(whole, whole) == whole
    for part in three:
        assert join(whole, part) == whole


@settings(max_examples=300)
@given(
    st.lists(statements(), min_size=1, max_size=12, unique_by=lambda one: one.order), st.randoms(use_true_random=False)
)
def test_any_order_and_duplication_tell_the_same_stays(told: list[Statement], random: Random) -> None:
    expected = stays_of(told)
    again = [*told, *random.choices(told, k=len(told))]
    random.shuffle(again)
    assert stays_of(again) == expected


def test_state_does_not_grow_with_the_number_of_messages() -> None:
    storm = [
        state("A08", f"2026-11-17 {minute // 60:02d}:{minute % 60:02d}", admitted="2026-11-16 08:00", class_="IMP")
        for minute in range(600)
    ]
    (fragment,) = fragments_of(storm)
    (single,) = fragments_of(storm[:1])
    assert len(str(fragment)) <= len(str(single)) + 10


def test_messages_of_two_patients_never_share_a_fragment() -> None:
    mine, theirs = (state("A01", "2026-11-16 08:05", patient=who) for who in ("MERCY|record|1", "MERCY|record|2"))
    assert fragment_of(mine).key != fragment_of(theirs).key
