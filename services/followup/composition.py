"""Composition that a process and a command share: the database of a data folder, the rules, the consumer's use case.

Apart from `bootstrap`, so that a command that applies a message does not load a web server.
"""

from pathlib import Path
from typing import Final
from uuid import uuid4

import sqlalchemy as sa

from services.followup.domain.decisions import Rules
from services.followup.protocols.calendars import calendar_for
from services.followup.protocols.closures import closures_in
from services.followup.protocols.loading import load_protocol
from services.followup.store.migrate import migrate
from services.followup.store.unit_of_work import units_of
from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.follow_up import FollowUp
from services.followup.usecases.status import CONSUMER_GROUP
from services.runtime.clock import Clock
from services.runtime.database import database_file, database_url, open_database

PROTOCOL: Final = "transitional-care"
"""The one protocol of this release."""


def open_migrated(data_dir: Path) -> sa.Engine:
    """Open the database of a data folder, at the schema of this release.

    Raises:
        Permanent: it cannot be opened or is of a later release.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_database(database_url(data_dir))
    migrate(engine)
    return engine


def rules_in_force(data_dir: Path) -> Rules:
    """Return the protocol that this release follows, with the calendar of a data folder's practice.

    Raises:
        ConfigurationError: `closures-file-invalid`.
    """
    protocol = load_protocol(PROTOCOL)
    return Rules(protocol=protocol, calendar=calendar_for(protocol.business_days, closures_in(data_dir)))


def build_apply(engine: sa.Engine, clock: Clock) -> ApplyEvents:
    """Build the consumer's use case on a data folder's database.

    Raises:
        ConfigurationError: `closures-file-invalid`.
    """
    follow_up = FollowUp(rules_in_force(database_file(engine).parent), lambda: str(uuid4()))
    return ApplyEvents(units_of(engine), follow_up, clock, group=CONSUMER_GROUP)
