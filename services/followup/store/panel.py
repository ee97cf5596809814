"""The panel in the database: imports into it, and the people whom somebody could be (SQLite).

Owns the lock that lets one import run at a time, and the search for candidates, which costs a fixed handful of
statements for a batch: `json_each` joined with an index, never a list of row values, which SQLite answers by scanning
(streaming.md §6).
"""

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from services.followup.domain.demographics import ComparableDemographics
from services.followup.domain.identity import Membership, PanelPerson
from services.followup.domain.match_keys import demographic_keys, identifier_keys
from services.followup.store.panel_rows import COMPARED_COLUMNS, StoredIdentifier, stored_person
from services.followup.store.panel_staging import SqlStaging
from services.followup.store.tables import panel_membership
from services.runtime.database import database_file, named_errors
from services.runtime.errors import Transient

IMPORT_LOCK_FILE: Final = "panel-import.lock"
BLOCK_PATIENTS_MAX: Final = 200
"""Patients looked at under one key. More who share a number, or name and birth date, are bad data, and what is found
among the first of them is enough to call a person uncertain; `oversized_blocks` counts (matching.md §4, 6)."""

_SEARCH: Final = sa.text("""
    SELECT wanted.value AS key, found.patient_id
    FROM json_each(:keys) AS wanted
    CROSS JOIN match_key AS found ON found.key = wanted.value AND found.patient_id <= (
        SELECT max(patient_id) FROM (
            SELECT patient_id FROM match_key WHERE key = wanted.value ORDER BY patient_id LIMIT :patients_max + 1))
""")
_PATIENTS: Final = sa.text(f"""
    SELECT p.id, {", ".join(f"p.{name}" for name in COMPARED_COLUMNS)}
    FROM json_each(:ids) AS wanted CROSS JOIN patient AS p ON p.id = wanted.value
""")  # noqa: S608 - names of columns
_IDENTIFIERS: Final = sa.text("""
    SELECT i.patient_id, i.authority, i.value, i.type
    FROM json_each(:ids) AS wanted CROSS JOIN patient_identifier AS i ON i.patient_id = wanted.value
""")
_MEMBERSHIPS: Final = sa.text("""
    SELECT m.patient_id, m.effective_from, m.effective_to
    FROM json_each(:ids) AS wanted CROSS JOIN panel_membership AS m ON m.patient_id = wanted.value
    ORDER BY m.patient_id, m.id
""").columns(panel_membership.c.patient_id, panel_membership.c.effective_from, panel_membership.c.effective_to)


class SqlPanelImports:
    """Imports into the panel (port: `usecases.panel_ports.PanelImports`)."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def staging(self) -> Iterator[SqlStaging]:
        """Begin an import; what was not loaded by the end of the block is gone.

        Raises:
            Transient: `panel-import-running`; or the database is away or busy.
        """
        lock = database_file(self._engine).parent / IMPORT_LOCK_FILE
        with _locked(lock), named_errors(), self._engine.connect() as connection:
            connection.detach()  # its TEMP tables end with it
            yield SqlStaging(connection)


class SqlCandidateFinder:
    """The search for candidates within one transaction (port: `usecases.panel_ports.CandidateFinder`)."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._oversized_blocks = 0

    @property
    def oversized_blocks(self) -> int:
        """How many keys so far had more patients than are looked at."""
        return self._oversized_blocks

    def find_candidates(self, people: Sequence[ComparableDemographics]) -> list[list[PanelPerson]]:
        """Return for each person, in order, everybody on the panel whom `identity.match` may link or doubt.

        Those who share an identifier; only where there is nobody, those alike by name, birth date and a third.
        """
        identifiers = [identifier_keys(person) for person in people]
        found = self._search(identifiers)
        for keys, candidates in zip(identifiers, found, strict=True):
            candidates[:] = [one for one in candidates if not keys.isdisjoint(identifier_keys(one.demographics))]
        rest = [at for at, candidates in enumerate(found) if not candidates]
        alike = self._search([demographic_keys(people[at]) for at in rest])
        for at, candidates in zip(rest, alike, strict=True):
            found[at] = candidates
        return found

    def _search(self, wanted: Sequence[frozenset[int]]) -> list[list[PanelPerson]]:
        blocks = self._blocks(frozenset().union(*wanted))
        people = self._read({patient_id for block in blocks.values() for patient_id in block})
        ids = [sorted({one for key in keys for one in blocks.get(key, ())}) for keys in wanted]
        return [[people[patient_id] for patient_id in each if patient_id in people] for each in ids]

    def _blocks(self, keys: Collection[int]) -> dict[int, list[str]]:
        """Return the patients under each key."""
        blocks: dict[int, list[str]] = {}
        if keys:
            parameters = {"keys": json.dumps(sorted(keys)), "patients_max": BLOCK_PATIENTS_MAX}
            for key, patient_id in self._connection.execute(_SEARCH, parameters):
                blocks.setdefault(key, []).append(patient_id)
        for block in blocks.values():
            if len(block) > BLOCK_PATIENTS_MAX:
                self._oversized_blocks += 1
                block.pop()
        return blocks

    def _read(self, patient_ids: Collection[str]) -> dict[str, PanelPerson]:
        """Return those of the patients who have a membership; without one nobody is on the panel."""
        if not patient_ids:
            return {}
        parameters = {"ids": json.dumps(sorted(patient_ids))}
        memberships: dict[str, list[Membership]] = {}
        for patient_id, *period in self._connection.execute(_MEMBERSHIPS, parameters):
            memberships.setdefault(patient_id, []).append(Membership(effective_from=period[0], effective_to=period[1]))
        identifiers: dict[str, list[StoredIdentifier]] = {}
        for patient_id, *identifier in self._connection.execute(_IDENTIFIERS, parameters):
            identifiers.setdefault(patient_id, []).append((identifier[0], identifier[1], identifier[2]))
        people = {}
        for patient_id, *columns in self._connection.execute(_PATIENTS, parameters):
            if patient_id in memberships:
                stored = dict(zip(COMPARED_COLUMNS, columns, strict=True))
                people[patient_id] = PanelPerson(
                    patient_id=patient_id,
                    demographics=stored_person(stored, identifiers.get(patient_id, ())),
                    memberships=tuple(memberships[patient_id]),
                )
        return people


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on imports; the kernel drops it when the process is gone, however it went."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Transient(
                "panel-import-running", "another panel import is running on this data folder; run this one after it"
            ) from error
        yield
    finally:
        os.close(fd)
