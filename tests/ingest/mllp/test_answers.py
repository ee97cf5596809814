import itertools

import pytest

from services.ingest.mllp.answers import AnswerLine
from services.ingest.mllp.frame import encode_frame


class Readiness:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_answers_are_taken_in_the_order_of_the_line(order: tuple[int, ...]) -> None:
    line = AnswerLine(Readiness())
    places = [line.owe(10, silent=False) for _ in range(4)]
    taken: list[bytes] = []
    for index in order:
        places[index](b"%d" % index)
        taken += line.take_ready().frames

    assert taken == [encode_frame(b"%d" % index) for index in range(4)]
    assert (len(line), line.byte_count) == (0, 0)


def test_only_the_head_of_the_line_makes_it_ready() -> None:
    ready = Readiness()
    line = AnswerLine(ready)
    first, second = line.owe(1, silent=False), line.owe(2, silent=False)

    second(b"2")
    assert (ready.calls, line.take_ready().frames, line.byte_count) == (0, [], 3)
    first(b"1")
    assert (ready.calls, line.take_ready().frames, line.byte_count) == (1, [encode_frame(b"1"), encode_frame(b"2")], 0)


@pytest.mark.parametrize("answer", [b"not sent", None])
def test_a_silent_place_is_waited_for_and_sends_nothing(answer: bytes | None) -> None:
    line = AnswerLine(Readiness())
    silent, spoken = line.owe(1, silent=True), line.owe(1, silent=False)
    spoken(b"2")
    assert line.take_ready().frames == []

    silent(answer)
    ready = line.take_ready()
    assert (ready.frames, ready.broken) == ([encode_frame(b"2")], False)


def test_nothing_is_taken_after_an_answer_that_cannot_be_given() -> None:
    line = AnswerLine(Readiness())
    places = [line.owe(1, silent=False) for _ in range(3)]
    for place, answer in zip(places, (b"1", None, b"3"), strict=True):
        place(answer)

    ready = line.take_ready()
    assert (ready.frames, ready.broken) == ([encode_frame(b"1")], True)
    assert line.abandon() == 1


def test_an_answer_that_would_break_its_frame_loses_the_framing_bytes() -> None:
    line = AnswerLine(Readiness())
    line.owe(1, silent=False)(b"MSA|AA|\x1c\r")

    ready = line.take_ready()
    assert (ready.frames, ready.mended) == ([encode_frame(b"MSA|AA|\r")], 1)


def test_an_abandoned_line_is_empty_and_late_answers_go_nowhere() -> None:
    ready = Readiness()
    line = AnswerLine(ready)
    places = [line.owe(5, silent=False) for _ in range(2)]

    assert line.abandon() == 2
    places[0](b"late")
    assert (ready.calls, len(line), line.byte_count, line.take_ready().frames) == (0, 0, 0, [])


def test_answering_twice_is_a_defect_of_the_handler() -> None:
    place = AnswerLine(Readiness()).owe(1, silent=False)
    place(b"1")

    with pytest.raises(AssertionError):
        place(b"1")
