"""What is made of one frame: its event and its answer, before anything is stored or sent.

Owns the acknowledgement code (HL7 table 0008) and the errors of a refusal (table 0357). Promises:

- Every frame gives one event and one decision, whatever is in it.
- AA says "we have it", not "we like it": what is not for us, cannot be used or comes from a sender that no feed names
  is accepted and recorded with its reason, since a refusal blocks or drops the sender's queue (DESIGN §4).
- AR is for what is no message: not HL7, no header, no control id to answer by, too large, or several messages in one
  frame; and for who may not say it (`senders`). It is recorded too.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import count
from typing import Final, NamedTuple, Protocol

from schemas.events import AdtEvent
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.hl7.ack import AckCode, AckError, build_ack, build_bare_refusal
from services.ingest.hl7.delimiters import Hl7SyntaxError
from services.ingest.hl7.message import Message, parse
from services.ingest.mllp.inbound import Inbound
from services.ingest.normalize import normalize, parked_event, refused_event
from services.ingest.senders import NOT_ALLOWED, Senders
from services.runtime.clock import to_timestamp_us
from services.runtime.log import get_logger

TRUNCATED: Final = "frame-truncated"
TOO_LARGE: Final = "frame-too-large"
SEVERAL_MESSAGES: Final = "several-messages"
NO_CONTROL_ID: Final = "control-id-missing"
NORMALIZER_FAILED: Final = "normalizer-failed"

_log = get_logger(__name__)

_SYNTAX_CODES: Final = {
    # Our codes of unreadable headers, by table 0357; what is not here is 100, segment sequence error: no MSH.
    "separators-missing": "101",
    "separators-illegal": "102",
    "separators-clash": "102",
    "charset-undecodable": "102",
    "batch-envelope": "200",
}
_REFUSALS: Final = {
    TOO_LARGE: AckError(code="207", location="MSH", text="the message is larger than this receiver accepts"),
    SEVERAL_MESSAGES: AckError(code="100", location="MSH[2]", text="send each message in a frame of its own"),
    NO_CONTROL_ID: AckError(code="101", location="MSH-10", text="a message without a control id cannot be answered"),
    NOT_ALLOWED: AckError(
        code="103", location="MSH-4", text="this connection's certificate is not that of this sender"
    ),
}


class Decision(NamedTuple):
    """What is recorded, and what is answered once it is; ``code`` is ``None`` where no answer is due."""

    event: AdtEvent
    code: AckCode | None
    answer: bytes


class Normalizer(Protocol):
    """Makes the event of a message; `normalize` is the one."""

    def __call__(self, message: Message, feed: FeedProfile | None, *, received_at: datetime) -> AdtEvent:
        """Return the event."""


def control_ids(started_at: datetime) -> Iterator[str]:
    """Return control ids of our own, unlike those of any other start: MSH-10 holds 20 characters up to v2.7."""
    prefix = f"{to_timestamp_us(started_at):x}"
    return (f"{prefix}{number:x}" for number in count(1))


class Reception:
    """Decides for one frame after the other; it keeps nothing but the count of its own control ids."""

    def __init__(
        self,
        feeds: Feeds,
        *,
        control_ids: Iterator[str],
        normalizer: Normalizer = normalize,
        senders: Senders | None = None,
    ) -> None:
        """Check who sends where ``senders`` is given; what is read anew was checked when it came."""
        self._feeds = feeds
        self._senders = senders
        self._control_ids = control_ids
        self._normalizer = normalizer

    def receive(self, inbound: Inbound, received_at: datetime) -> Decision:
        """Return what to record and what to answer."""
        try:
            message, feed = self._read(inbound.payload)
        except Hl7SyntaxError as error:
            return self._refuse_unread(inbound, error, received_at)
        if self._senders is not None and not self._senders.allow(feed, inbound.identity):
            refusal: str | None = NOT_ALLOWED
            _log_imposture(inbound, feed)
            feed = None  # as whom it came is not known: a feed's figures are those of its own sender
        else:
            refusal = _why_refused(inbound, message)
        if inbound.truncated:
            event = refused_event(inbound.payload, TRUNCATED, received_at=received_at, message=message, feed=feed)
            return Decision(event, None, b"")
        if refusal is not None:
            event = refused_event(inbound.payload, refusal, received_at=received_at, message=message, feed=feed)
            told = _REFUSALS[refusal]
            answer = build_ack(
                message,
                code="AR",
                control_id=next(self._control_ids),
                sent_at=received_at,
                error=told,
                text=told.text,
            )
            return Decision(event, "AR", answer)
        event = self._normalize(message, feed, received_at)
        answer = build_ack(message, code="AA", control_id=next(self._control_ids), sent_at=received_at)
        return Decision(event, "AA", answer)

    def _normalize(self, message: Message, feed: FeedProfile | None, received_at: datetime) -> AdtEvent:
        try:
            return self._normalizer(message, feed, received_at=received_at)
        except Exception as error:  # noqa: BLE001 - see below
            # A defect of ours that one message brings out. Without an answer its sender would send it forever and
            # nothing behind it; so it is kept, parked where people see it, and replayed once we are mended.
            event = parked_event(message, feed, NORMALIZER_FAILED, received_at=received_at)
            _log.error("normalizer_failed", event_id=event.event_id, feed=event.feed, exc_info=error)
            return event

    def _read(self, raw: bytes) -> tuple[Message, FeedProfile | None]:
        """Return the message, whose header could be read, and its sender's feed if one names it."""
        message = parse(raw)
        feed = self._feeds.find(*message.header.texts(3, 4))
        if feed is not None and feed.charset is not None and not raw.isascii():
            message = parse(raw, charset_override=feed.charset)
        return message, feed

    def _refuse_unread(self, inbound: Inbound, error: Hl7SyntaxError, received_at: datetime) -> Decision:
        """Refuse what has no readable header; of a frame that was cut off or too large, that is the reason."""
        reason = TRUNCATED if inbound.truncated else TOO_LARGE if inbound.oversized else error.code
        event = refused_event(inbound.payload, reason, received_at=received_at)
        if inbound.truncated:
            return Decision(event, None, b"")
        stated = AckError(code=_SYNTAX_CODES.get(error.code, "100"), location=error.location, text=error.text)
        told = _REFUSALS[TOO_LARGE] if inbound.oversized else stated
        answer = build_bare_refusal(control_id=next(self._control_ids), sent_at=received_at, error=told, text=told.text)
        return Decision(event, "AR", answer)


def _log_imposture(inbound: Inbound, feed: FeedProfile | None) -> None:
    """Log that somebody sends in another's name; a security event."""
    _log.warning(
        "sender_refused",
        kind="security",
        peer=inbound.peer,
        connection=inbound.connection_id,
        certificate=sorted(inbound.identity.names) if inbound.identity is not None else None,
        feed=feed.name if feed is not None else None,
        reason=NOT_ALLOWED,
    )


def _why_refused(inbound: Inbound, message: Message) -> str | None:
    if inbound.oversized:
        return TOO_LARGE
    if not message.header.texts(10)[0]:
        return NO_CONTROL_ID
    findings = message.findings
    if findings and any(finding.code == SEVERAL_MESSAGES for finding in findings):
        return SEVERAL_MESSAGES
    return None
