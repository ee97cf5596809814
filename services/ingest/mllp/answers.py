"""The answers one connection owes, kept in the order of its messages.

Promise: an answer leaves only after every earlier one; after an answer that cannot be given none leaves. No I/O.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.ingest.mllp.frame import FramingError, encode_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyAnswers:
    """What may be written now.

    Attributes:
        frames: framed answers, in order.
        mended: how many of them lost framing bytes that they echoed.
        broken: after these, a message stays unanswered, so the connection must end.
    """

    frames: list[bytes]
    mended: int
    broken: bool


class OwedAnswer:
    """One place in the line; it is called with the answer."""

    __slots__ = ("_line", "answer", "answered", "byte_count", "silent")

    def __init__(self, line: "AnswerLine", byte_count: int, *, silent: bool) -> None:
        self._line = line
        self.byte_count = byte_count
        self.silent = silent
        self.answered = False
        self.answer: bytes | None = None

    def __call__(self, answer: bytes | None) -> None:
        """Settle what is owed; None means that it will never be."""
        assert not self.answered, "a message is answered once"
        self.answered = True
        self.answer = answer
        self._line.note_answered(self)


class AnswerLine:
    """The line of owed answers; `on_ready` is called when its head becomes ready."""

    __slots__ = ("_on_ready", "_owed", "byte_count")

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._owed: deque[OwedAnswer] = deque()
        self.byte_count = 0  # of the messages waiting for their answer

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, byte_count: int, *, silent: bool) -> OwedAnswer:
        """Open a place at the end for a message of this size; a silent one holds its place and sends nothing."""
        place = OwedAnswer(self, byte_count, silent=silent)
        self._owed.append(place)
        self.byte_count += byte_count
        return place

    def note_answered(self, place: OwedAnswer) -> None:
        """Hear that a place is settled."""
        if self._owed and self._owed[0] is place:
            self._on_ready()

    def take_ready(self) -> ReadyAnswers:
        """Take the settled head of the line, up to the first answer that cannot be given."""
        owed = self._owed
        frames: list[bytes] = []
        mended = 0
        while owed and owed[0].answered:
            place = owed.popleft()
            self.byte_count -= place.byte_count
            if place.silent:
                continue
            if place.answer is None:
                return ReadyAnswers(frames=frames, mended=mended, broken=True)
            try:
                frames.append(encode_frame(place.answer))
            except FramingError:
                # It echoes framing bytes of the message. Without them it is worth more to the sender than no answer.
                frames.append(encode_frame(place.answer.translate(None, b"\x0b\x1c")))
                mended += 1
        return ReadyAnswers(frames=frames, mended=mended, broken=False)

    def abandon(self) -> int:
        """Give up what is left and count it; answers that come later go nowhere."""
        count = len(self._owed)
        self._owed.clear()
        self.byte_count = 0
        return count
