"""Reads plain HTML forms (`application/x-www-form-urlencoded`), with limits and no guesses.

Our forms are a handful of short fields; files and multipart bodies are not taken, so no parser for them is needed.
"""

from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

FIELDS_MAX: Final = 20


async def read_form(request: Request) -> dict[str, str] | None:
    """Return the fields of a form, without those left empty; `None` where the body is not such a form.

    Browsers send every field, also the ones a person left alone: empty means not said.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        return None
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        return None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        return None
    return {name: value for name, value in fields.items() if value.strip()}
