"""Dead letters by name, and the records that they point at."""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from services.commands.data_source import DataSource, found_log
from services.followup.usecases.dead_letters import DeadLetterStore, KeptLetter, LetterId
from services.runtime.errors import Permanent
from services.runtime.eventlog.port import Record, Subscriber

RECORD_BYTES_MAX: Final = 1
"""A read gives one record however large it is (`eventlog.port`)."""

_PLACE: Final = re.compile(r"(?P<partition>[0-9]{1,4}):(?P<offset>[0-9]{1,15})")


def find_letter(store: DeadLetterStore, name: str) -> KeptLetter:
    """Return the dead letter that PARTITION:OFFSET or an event id names.

    Raises:
        Permanent: `letter-unknown`.
    """
    place = _PLACE.fullmatch(name)
    if place is None:
        which = LetterId(event_id=name)
    else:
        which = LetterId(partition=int(place["partition"]), offset=int(place["offset"]))
    found = store.find(which)
    if found is None:
        raise Permanent(
            "letter-unknown",
            "there is no such dead letter: `afterstay dlq ls --all` lists them, by PARTITION:OFFSET and event id",
        )
    return found


def name_of(kept: KeptLetter) -> str:
    """Return what `find_letter` finds a dead letter by."""
    return f"{kept.letter.partition}:{kept.letter.offset}"


def read_records(source: DataSource, letters: Sequence[KeptLetter]) -> list[Record | None]:
    """Return the record of each letter; `None` where it is damaged or the log has it no more."""
    return asyncio.run(_read_records(source, letters))


async def _read_records(source: DataSource, letters: Sequence[KeptLetter]) -> list[Record | None]:
    async with found_log(source) as log:
        return [None if log is None else await _read_record(log, kept) for kept in letters]


async def _read_record(log: Subscriber, kept: KeptLetter) -> Record | None:
    letter = kept.letter
    found = await log.read(letter.topic, letter.partition, letter.offset, max_records=1, bytes_max=RECORD_BYTES_MAX)
    whole = found and found[0].offset == letter.offset and not found[0].damaged
    return found[0] if whole else None
