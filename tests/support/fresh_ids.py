"""Gives a message another control id, byte for byte everything else as it was.

The corpora's messages share control ids; to tell their answers apart each is sent under one of its own.
"""

import re

_LINE_END = re.compile(rb"[\r\n]")
_CONTROL_ID = 10
_MLLP = re.compile(rb"[\x0b\x1c]")


def with_control_id(raw: bytes, control_id: str) -> bytes:
    """Return the message with this MSH-10, whatever its separators (MSH-1); a header that is too short is filled up.

    The header is looked for as ASCII, behind a byte-order mark or spaces if there are any.

    Raises:
        ValueError: there is no header to put it into.
    """
    begin = raw.find(b"MSH")
    separator = raw[begin + 3 : begin + 4]
    if begin < 0 or not separator.strip():
        raise ValueError("the message has no MSH segment with separators")
    line_end = _LINE_END.search(raw, begin)
    end = line_end.start() if line_end else len(raw)
    fields = raw[begin:end].split(separator)  # MSH-1 is the separator itself, so MSH-10 stands at 9
    fields += [b""] * (_CONTROL_ID - len(fields))
    fields[_CONTROL_ID - 1] = control_id.encode("ascii")
    return raw[:begin] + separator.join(fields) + raw[end:]


def without_framing(raw: bytes) -> bytes:
    """Return the message without MLLP's bytes, which some files hold."""
    return _MLLP.sub(b"", raw)
