"""Composition that a process and a command share: a database at this release's schema, the rules, the use case.

Apart from `bootstrap`, so that a command that applies a message does not load a web server.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final
from uuid import uuid4

import sqlalchemy as sa

from services.followup.domain.decisions import Rules
from services.followup.protocols.calendars import calendar_for
from services.followup.protocols.loading import load_protocol
from services.followup.store.migrate import HEAD, current_revision, migrate
from services.followup.store.unit_of_work import units_of
from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.follow_up import FollowUp
from services.followup.usecases.purge import KEPT, PurgeUnlinked
from services.followup.usecases.status import CONSUMER_GROUP
from services.runtime.clock import Clock
from services.runtime.database import open_database, read_transaction
from services.runtime.errors import AfterstayError, Permanent

PROTOCOL: Final = "transitional-care"
"""The one protocol of this release."""


def open_migrated(url: str) -> sa.Engine:
    """Open the database at `url`, brought to the schema of this release.

    Raises:
        Permanent: it cannot be opened or is of a later release.
    """
    engine = open_database(url)
    try:
        migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def open_current(url: str) -> sa.Engine:
    """Open the database at `url`, which somebody has brought to the schema of this release.

    Raises:
        Permanent: `database-too-old`, `database-too-new`, or it cannot be opened.
        Transient: it is out of reach for now.
    """
    engine = open_database(url)
    try:
        revision = current_revision(engine)
    except BaseException:
        engine.dispose()
        raise
    if revision != HEAD:
        engine.dispose()
        raise Permanent(
            "database-too-old",
            f"the database is at revision {revision or 'none'} and this release needs {HEAD}: run `afterstay migrate` "
            "with the same --database",
        )
    return engine


def database_problems(engine: sa.Engine) -> Sequence[str]:
    """Say what keeps a process from its work: the database answers, or it does not. Lag never fails a probe."""
    try:
        with read_transaction(engine) as connection:
            connection.execute(sa.select(1))
    except AfterstayError as error:
        return (error.code,)
    return ()


def rules_in_force(closures: frozenset[date]) -> Rules:
    """Return the protocol that this release follows, with the practice's own closed days (`protocols.closures`)."""
    protocol = load_protocol(PROTOCOL)
    return Rules(protocol=protocol, calendar=calendar_for(protocol.business_days, closures))


def build_purge(engine: sa.Engine, clock: Clock, *, kept: timedelta = KEPT) -> PurgeUnlinked:
    """Build what purges stays that nobody on the panel has claimed within a time."""
    return PurgeUnlinked(units_of(engine), clock, kept=kept)


def build_apply(engine: sa.Engine, clock: Clock, *, closures: frozenset[date]) -> ApplyEvents:
    """Build the consumer's use case on a database, with the practice's own closed days."""
    return ApplyEvents(units_of(engine), build_follow_up(closures), clock, group=CONSUMER_GROUP)


def build_follow_up(closures: frozenset[date]) -> FollowUp:
    """Build what settles stays by the rules in force."""
    return FollowUp(rules_in_force(closures), lambda: str(uuid4()))
