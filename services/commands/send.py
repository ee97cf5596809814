"""`afterstay send`: messages from files to a listener, and its answers."""

import asyncio
import re
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.commands.arguments import Arguments
from services.commands.exit_codes import OK, REFUSED
from services.commands.output import shown, write_json, write_text
from services.ingest.hl7.delimiters import Hl7SyntaxError
from services.ingest.hl7.message import Message, parse
from services.ingest.mllp.client import MllpClient, MllpClientError, client_context
from services.ingest.mllp.frame import START_BLOCK, Frame, FrameDecoder, FramingError, encode_frame
from services.ingest.mllp.tls import TlsFilesError
from services.runtime.errors import Permanent, Transient

FRAME_BYTES_MAX: Final = 64 * 1_048_576
"""Of a file's own frames: larger than any listener takes, so that the listener says no and not we."""
STANDARD_INPUT: Final = "-"

# A segment name and a field separator, which is never a letter, digit or space, at the start of a line.
_HEADER: Final = re.compile(rb"(?:(?<=\r)|(?<=\n)|\A)MSH(?=[^A-Za-z0-9\s])")
_ENVELOPE: Final = re.compile(rb"(?:(?<=\r)|(?<=\n)|\A)(?:FHS|BHS|BTS|FTS)(?=[^A-Za-z0-9])[^\r\n]*[\r\n]*")
_LAST_END: Final = re.compile(rb"(\r\n|\r|\n)[\r\n]*\Z")
_BLANK: Final = b"\r\n \t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message: from which file, which one in it (from 1), and its bytes."""

    file: str
    number: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One message and its answer: MSA-1, MSA-2, and MSA-3 or ERR-8. `code` is `None` where none came.

    `matches` says whether the answer is for this message (MSA-2 is its MSH-10), as far as both can be read.
    """

    file: str
    number: int
    control_id: str | None
    code: str | None
    answers: str | None
    text: str | None
    matches: bool
    raw: str | None


def send(arguments: Arguments) -> int:
    """Send every message of the files, each after the answer to the one before, and print the answers."""
    outgoing = [message for name in arguments.files for message in _read_messages(name)]
    answered: list[Answered] = []
    try:
        asyncio.run(_send(outgoing, arguments, answered))
    except MllpClientError as error:
        raise Transient("not-answered", f"{len(outgoing) - len(answered)} messages have no answer: {error}") from error
    finally:
        if arguments.json:
            write_json([*answered, *map(_unanswered, outgoing[len(answered) :])])
    return OK if all(one.code == "AA" and one.matches for one in answered) else REFUSED


def split_messages(content: bytes) -> list[bytes]:
    """Return the messages of a file: its frames, or what begins with MSH at the start of a line.

    One message is returned as it is, byte for byte. Of several the blank lines between them and the envelope of a
    batch (FHS, BHS, BTS, FTS; HL7 v2.5.1 ch. 2.10.3) are left out, since they belong to no message.
    """
    if content.lstrip(_BLANK)[:1] == bytes((START_BLOCK,)):
        events = FrameDecoder(frame_bytes_max=FRAME_BYTES_MAX).feed(content)
        return [event.payload for event in events if isinstance(event, Frame)]
    starts = [found.start() for found in _HEADER.finditer(content)]
    if len(starts) < 2:
        return [content] if content.strip(_BLANK) else []
    ends = [*starts[1:], len(content)]
    parts = (_ENVELOPE.sub(b"", content[start:end]) for start, end in zip(starts, ends, strict=True))
    return [_LAST_END.sub(rb"\1", part) for part in parts]


def _read_messages(name: str) -> Iterator[Outgoing]:
    try:
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
    except OSError as error:
        raise Permanent("file-unreadable", f"{name} cannot be read ({error.strerror}): check the path") from error
    payloads = split_messages(content)
    if not payloads:
        raise Permanent("file-empty", f"{name} holds no message: a message starts with MSH")
    for number, payload in enumerate(payloads, 1):
        try:
            encode_frame(payload)
        except FramingError as error:
            raise Permanent("message-unframeable", f"message {number} of {name}: {error}; nothing was sent") from error
        yield Outgoing(file=name, number=number, payload=payload)


async def _send(outgoing: Sequence[Outgoing], arguments: Arguments, answered: list[Answered]) -> None:
    host, port = arguments.to
    payloads = (one.payload for one in outgoing)
    connected = MllpClient.connect(
        host, port, tls=_tls(arguments), tls_name=arguments.tls_name, answer_timeout_s=arguments.timeout
    )
    async with await connected as client, aclosing(client.send_many(payloads, window=1)) as answers:
        for message in outgoing:
            answer = _read_answer(message, await anext(answers), verbose=arguments.verbose)
            answered.append(answer)
            if not arguments.json:
                _write_answer(answer)


def _tls(arguments: Arguments) -> ssl.SSLContext | None:
    given = (arguments.tls, arguments.tls_ca, arguments.tls_name, arguments.tls_cert, arguments.tls_key)
    if not any(given):
        return None
    try:
        return client_context(arguments.tls_ca, certificate=arguments.tls_cert, key=arguments.tls_key)
    except TlsFilesError as error:
        raise Permanent("tls-files-invalid", f"{error}; nothing was sent") from error


def _read_answer(message: Outgoing, raw: bytes, *, verbose: bool) -> Answered:
    sent, answer = _parsed(message.payload), _parsed(raw)
    msa = answer.first("MSA") if answer else None
    err = answer.first("ERR") if answer else None
    control_id = sent.header.field(10) if sent else None
    answers = msa.field(2) if msa else None
    return Answered(
        file=message.file,
        number=message.number,
        control_id=control_id,
        code=(msa.component(1) if msa else None) or None,
        answers=answers,
        text=(msa.component(3) if msa else None) or (err.component(8) if err else None) or None,
        matches=not control_id or not answers or control_id == answers,
        raw=raw.decode("utf-8", "replace") if verbose else None,
    )


def _unanswered(message: Outgoing) -> Answered:
    sent = _parsed(message.payload)
    return Answered(
        file=message.file,
        number=message.number,
        control_id=sent.header.field(10) if sent else None,
        code=None,
        answers=None,
        text=None,
        matches=False,
        raw=None,
    )


def _parsed(raw: bytes) -> Message | None:
    try:
        return parse(raw)
    except Hl7SyntaxError:
        return None


def _write_answer(answer: Answered) -> None:
    parts = [shown(answer.code), shown(answer.answers), f"{answer.file}:{answer.number}"]
    if not answer.matches:
        parts.append(f"(the answer is not for this message, whose control id is {shown(answer.control_id)})")
    if answer.text:
        parts.append(shown(answer.text))
    write_text("  ".join(parts))
    if answer.raw is not None:
        for line in answer.raw.rstrip("\r\n").split("\r"):
            write_text(f"    {shown(line)}")
