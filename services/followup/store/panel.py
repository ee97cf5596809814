"""The panel in the database: imports into it, and the people whom somebody could be (SQLite).

Owns the lock that lets one import run at a time, and the search for candidates, which costs a fixed handful of
statements for a batch: `json_each` joined with an index, never a list of row values, which SQLite answers by scanning
(streaming.md §6).
"""

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from services.followup.domain.demographics import ComparableDemographics
from services.followup.domain.identity import Membership, PanelPerson
from services.followup.domain.match_keys import demographic_keys, identifier_keys
from services.followup.store.panel_rows import COMPARED_COLUMNS, StoredIdentifier, stored_person
from services.followup.store.panel_staging import SqlStaging
from services.runtime.database import database_file, named_errors
from services.runtime.errors import Transient

IMPORT_LOCK_FILE: Final = "panel-import.lock"
BLOCK_PATIENTS_MAX: Final = 200
"""Patients looked at under one key. More who share a number, or name and birth date, are bad data, and what is found
among the first of them is enough to call a person uncertain; `oversized_blocks` counts (matching.md §4, 6)."""
