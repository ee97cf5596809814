"""Which telephone numbers may become links: those that cannot be anything but an ordinary number.

Everything else is shown as it was given and never dialed by a slip of the finger (fault B35): foreign numbers,
premium and toll numbers, service codes, placeholders. Source: the North American Numbering Plan (NPA-NXX-XXXX: neither
part begins with 0 or 1, nor ends in 11), RFC 3966 for the link.
"""

import re
from typing import Final

_NUMBER: Final = re.compile(
    r"\s*(?:\+?1[-. ]?)?\(?(?P<area>[2-9]\d{2})\)?[-. /]*(?P<exchange>[2-9]\d{2})[-. ]?(?P<line>\d{4})"
    r"\s*(?:(?:ext\.?|x|#)\s*(?P<extension>\d{1,6}))?\s*",
    re.ASCII | re.IGNORECASE,
)
_CALLER_PAYS: Final = frozenset({"900", "976"})
_DIGITS: Final = 10


def dialable(text: str) -> str | None:
    """Return the `tel:` link of a number, or `None` where it may not be one."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    area, exchange, line, extension = found.group("area", "exchange", "line", "extension")
    digits = area + exchange + line
    service = area.endswith("11") or exchange.endswith("11")
    if service or {area, exchange} & _CALLER_PAYS or len(set(digits)) == 1:
        return None
    return f"tel:+1{digits}" + (f";ext={extension}" if extension else "")
