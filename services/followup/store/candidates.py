"""The people on the panel whom somebody could be (port: `usecases.panel_ports.CandidateFinder`).

Owns the search for candidates, which costs a fixed handful of statements for a batch: the keys or ids as one list,
joined with an index, never a list of row values, which SQLite answers by scanning (streaming.md §6).
"""
# ruff: noqa: S608 - what is put into the statements are names of columns

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from services.followup.domain.demographics import ComparableDemographics
from services.followup.domain.identity import Membership, PanelPerson
from services.followup.domain.match_keys import demographic_keys, identifier_keys
from services.followup.store.panel_rows import COMPARED_COLUMNS, StoredIdentifier, stored_person
from services.followup.store.tables import panel_membership
from services.runtime.database import is_postgresql

BLOCK_PATIENTS_MAX: Final = 200
"""Patients looked at under one key. More who share a number, or name and birth date, are bad data, and what is found
among the first of them is enough to call a person uncertain; `oversized_blocks` counts (matching.md §4, 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sql:
    """The statements; `search` gives one patient more than are looked at under a key that has more."""

    search: sa.TextClause
    patients: sa.TextClause
    identifiers: sa.TextClause
    memberships: Any


_COMPARED: Final = ", ".join(f"p.{name}" for name in COMPARED_COLUMNS)
_PERIODS: Final = (panel_membership.c.patient_id, panel_membership.c.effective_from, panel_membership.c.effective_to)

SQLITE: Final = _Sql(
    search=sa.text("""
        SELECT wanted.value AS key, found.patient_id
        FROM json_each(:keys) AS wanted
        CROSS JOIN match_key AS found ON found.key = wanted.value AND found.patient_id <= (
            SELECT max(patient_id) FROM (
                SELECT patient_id FROM match_key WHERE key = wanted.value ORDER BY patient_id LIMIT :patients_max + 1))
    """),
    patients=sa.text(f"""
        SELECT p.id, {_COMPARED} FROM json_each(:ids) AS wanted CROSS JOIN patient AS p ON p.id = wanted.value
    """),
    identifiers=sa.text("""
        SELECT i.patient_id, i.authority, i.value, i.type
        FROM json_each(:ids) AS wanted CROSS JOIN patient_identifier AS i ON i.patient_id = wanted.value
    """),
    memberships=sa.text("""
        SELECT m.patient_id, m.effective_from, m.effective_to
        FROM json_each(:ids) AS wanted CROSS JOIN panel_membership AS m ON m.patient_id = wanted.value
        ORDER BY m.patient_id, m.id
    """).columns(*_PERIODS),
)
POSTGRESQL: Final = _Sql(
    search=sa.text("""
        SELECT wanted.key, found.patient_id
        FROM unnest(CAST(:keys AS bigint[])) AS wanted (key)
        CROSS JOIN LATERAL (
            SELECT m.patient_id FROM match_key AS m WHERE m.key = wanted.key
            ORDER BY m.patient_id LIMIT CAST(:patients_max AS integer) + 1) AS found
    """),
    patients=sa.text(f"SELECT p.id, {_COMPARED} FROM patient AS p WHERE p.id = ANY(CAST(:ids AS text[]))"),
    identifiers=sa.text("""
        SELECT patient_id, authority, value, type FROM patient_identifier
        WHERE patient_id = ANY(CAST(:ids AS text[]))
    """),
    memberships=sa.text("""
        SELECT patient_id, effective_from, effective_to FROM panel_membership
        WHERE patient_id = ANY(CAST(:ids AS text[])) ORDER BY patient_id, id
    """).columns(*_PERIODS),
)


class SqlCandidateFinder:
    """The search for candidates within one transaction (port: `usecases.panel_ports.CandidateFinder`)."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._sql = POSTGRESQL if is_postgresql(connection) else SQLITE
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
            parameters = {"keys": self._list(sorted(keys)), "patients_max": BLOCK_PATIENTS_MAX}
            for key, patient_id in self._connection.execute(self._sql.search, parameters):
                blocks.setdefault(key, []).append(patient_id)
        for block in blocks.values():
            if len(block) > BLOCK_PATIENTS_MAX:
                self._oversized_blocks += 1
                block.pop()
        return blocks

    def _list(self, values: list[Any]) -> object:
        return values if self._sql is POSTGRESQL else json.dumps(values)

    def _read(self, patient_ids: Collection[str]) -> dict[str, PanelPerson]:
        """Return those of the patients who have a membership; without one nobody is on the panel."""
        if not patient_ids:
            return {}
        parameters = {"ids": self._list(sorted(patient_ids))}
        memberships: dict[str, list[Membership]] = {}
        for patient_id, *period in self._connection.execute(self._sql.memberships, parameters):
            memberships.setdefault(patient_id, []).append(Membership(effective_from=period[0], effective_to=period[1]))
        identifiers: dict[str, list[StoredIdentifier]] = {}
        for patient_id, *identifier in self._connection.execute(self._sql.identifiers, parameters):
            identifiers.setdefault(patient_id, []).append((identifier[0], identifier[1], identifier[2]))
        people = {}
        for patient_id, *columns in self._connection.execute(self._sql.patients, parameters):
            if patient_id in memberships:
                stored = dict(zip(COMPARED_COLUMNS, columns, strict=True))
                people[patient_id] = PanelPerson(
                    patient_id=patient_id,
                    demographics=stored_person(stored, identifiers.get(patient_id, ())),
                    memberships=tuple(memberships[patient_id]),
                )
        return people
