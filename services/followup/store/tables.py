"""Tables of the follow-up database: one schema for SQLite and PostgreSQL (DESIGN §5).

Owns the declared schema; migrations bring a database to it and a test holds the two equal. Invariants live in keys:
one open task per episode and kind is a partial unique index, one fragment per key, one outcome per event.
Instants are UTC: integer microseconds in SQLite, ``timestamptz`` in PostgreSQL.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

OPEN_STATUSES: Final = ("requested", "accepted", "in-progress", "on-hold")
"""FHIR Task statuses that count as open work; also in the partial index below and in its migration."""


class Instant(TypeDecorator[datetime]):
    """An aware instant; refuses naive datetimes, always returns UTC."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use the database's own type where it has one that keeps microseconds and zone."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> object:
        """Turn an aware datetime into what the database keeps."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant must be an aware datetime")
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: object, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turn what the database keeps into an aware UTC datetime."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        assert isinstance(value, int)
        return _EPOCH + value * _MICROSECOND


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# --- the panel -------------------------------------------------------------------------------------------------------

panel_import = sa.Table(
    "panel_import",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("file_name", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("row_count", sa.Integer, nullable=False),
    sa.Column("imported_at", Instant, nullable=False),
    sa.Column("imported_by", sa.Text, nullable=False),
)

patient = sa.Table(
    "patient",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("family", sa.Text, nullable=False),
    sa.Column("given", sa.Text, nullable=False),
    sa.Column("middle", sa.Text),
    sa.Column("suffix", sa.Text),
    sa.Column("birth_date", sa.Date, nullable=False),
    sa.Column("sex", sa.Text),
    sa.Column("street", sa.Text),
    sa.Column("city", sa.Text),
    sa.Column("state", sa.Text),
    sa.Column("zip", sa.Text),
    sa.Column("phone", sa.Text),
    sa.Column("ssn4", sa.Text),
    sa.Column("language", sa.Text),
    sa.Column("interpreter", sa.Boolean),
    sa.Column("guardian_name", sa.Text),
    sa.Column("guardian_relation", sa.Text),
    sa.Column("guardian_phone", sa.Text),
    sa.Column("updated_at", Instant, nullable=False),
)

patient_identifier = sa.Table(
    "patient_identifier",
    metadata,
    sa.Column("authority", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column("patient_id", sa.Text, sa.ForeignKey("patient.id"), primary_key=True),
    sa.Index("ix_patient_identifier_patient_id", "patient_id"),
    sqlite_with_rowid=False,
)

panel_membership = sa.Table(
    "panel_membership",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("patient_id", sa.Text, sa.ForeignKey("patient.id"), nullable=False),
    sa.Column("effective_from", sa.Date),
    sa.Column("effective_to", sa.Date),
    sa.Column("practice", sa.Text),
    sa.Column("pcp", sa.Text),
    sa.Column("program", sa.Text),
    sa.Column("import_id", _serial, sa.ForeignKey("panel_import.id"), nullable=False),
    sa.Column("source_row", sa.Integer, nullable=False),
    sa.Index("ix_panel_membership_patient_id", "patient_id"),
)

match_key = sa.Table(
    "match_key",
    metadata,
    sa.Column("key", sa.BigInteger, primary_key=True),
    # No foreign key and no index of its own: keys are removed by computing them again, a stale one costs a comparison
    # and never makes a link, and each of the two makes a large import several times slower.
    sa.Column("patient_id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)

panel_rematch = sa.Table(
    "panel_rematch",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    # Up to where stays have been told to look again; none while units that saw the panel before may still be at work.
    sa.Column("reached", sa.Text),
)

# --- what the log said -----------------------------------------------------------------------------------------------

stream_position = sa.Table(
    "stream_position",
    metadata,
    sa.Column("consumer_group", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    sa.Column("first_offset", sa.BigInteger, nullable=False, server_default="0"),
)

# The books are counted in shards, so that writers who count the same do not wait for each other: their sum counts.
outcome_count = sa.Table(
    "outcome_count",
    metadata,
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, server_default="0"),
    sa.Column("n", sa.BigInteger, nullable=False),
)

ack_count = sa.Table(
    "ack_count",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, server_default="0"),
    sa.Column("n", sa.BigInteger, nullable=False),
)

source_patient = sa.Table(
    "source_patient",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
)

# A row is nothing but what units lock that bring a visit number to a source patient (`stays.SqlStayStore`).
visit_lock = sa.Table(
    "visit_lock",
    metadata,
    sa.Column("key", sa.BigInteger, primary_key=True, autoincrement=False),
)

stay = sa.Table(
    "stay",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("source_patient_id", _serial, sa.ForeignKey("source_patient.id"), nullable=False),
    sa.Column("visit_authority", sa.Text),
    sa.Column("visit_number", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("discharged_on", sa.Date),
    sa.Column("view", sa.Text, nullable=False),
    sa.Column("patient_id", sa.Text, sa.ForeignKey("patient.id")),
    sa.Column("match_state", sa.Text, nullable=False),
    sa.Column("match", sa.Text, nullable=False),
    sa.Column("follow_up", sa.Text, nullable=False),
    sa.Column("follow_up_reason", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("outcome_reason", sa.Text, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Index("ix_stay_source_patient_id", "source_patient_id"),
    sa.Index("ix_stay_visit_number_visit_authority", "visit_number", "visit_authority"),
    sa.Index("ix_stay_patient_id", "patient_id"),
    sa.Index(
        "ix_stay_unlinked_updated_at",
        "updated_at",
        "id",
        sqlite_where=sa.text("patient_id IS NULL"),
        postgresql_where=sa.text("patient_id IS NULL"),
    ),
)

fragment = sa.Table(
    "fragment",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("source_patient_id", _serial, sa.ForeignKey("source_patient.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("stay_id", sa.Text, sa.ForeignKey("stay.id")),
    sa.Index("ix_fragment_source_patient_id", "source_patient_id"),
    sa.Index("ix_fragment_stay_id", "stay_id"),
)

_awaiting = sa.text("awaiting > 0")

event = sa.Table(
    "event",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("normalizer", sa.Integer, nullable=False),
    sa.Column("feed", sa.Text),
    sa.Column("trigger", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("control_id", sa.Text),
    sa.Column("ack", sa.Text, nullable=False),
    sa.Column("sent_at", Instant),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("applied_at", Instant, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("fragment_id", _serial, sa.ForeignKey("fragment.id")),
    # Of the reading in force, where it is not the one that its record holds: a replay has read the bytes anew.
    sa.Column("reading", sa.Text),
    # How often the message has come again with a reading of newer rules, which a replay is to take up.
    sa.Column("awaiting", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_event_control_id", "control_id"),
    sa.Index("ix_event_fragment_id", "fragment_id"),
    sa.Index("ix_event_awaiting", "event_id", sqlite_where=_awaiting, postgresql_where=_awaiting),
)

dead_letter = sa.Table(
    "dead_letter",
    metadata,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    sa.Column("event_id", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("resolved_at", Instant),
    sa.Column("resolution", sa.Text),
    sa.Index("ix_dead_letter_event_id", "event_id"),
)

canary = sa.Table(
    "canary",
    metadata,
    sa.Column("turn", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("control_id", sa.Text, nullable=False),
    sa.Column("sent_at", Instant, nullable=False),
)

# --- follow-up -------------------------------------------------------------------------------------------------------

review = sa.Table(
    "match_review",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("stay_id", sa.Text, sa.ForeignKey("stay.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("closed_at", Instant),
    sa.Index(
        "uq_match_review_open",
        "stay_id",
        "kind",
        unique=True,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    ),
)

_open_task = sa.text("status IN ('requested', 'accepted', 'in-progress', 'on-hold')")

task = sa.Table(
    "task",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("episode_id", sa.Text, nullable=False),
    sa.Column("stay_id", sa.Text, sa.ForeignKey("stay.id"), nullable=False),
    sa.Column("patient_id", sa.Text, sa.ForeignKey("patient.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason_code", sa.Text),
    sa.Column("status_reason_text", sa.Text),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("discharged_on", sa.Date, nullable=False),
    sa.Column("discharged_at", Instant),
    sa.Column("due_on", sa.Date, nullable=False),
    sa.Column("last_on", sa.Date, nullable=False),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("work_by", sa.Date, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("protocol", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("warnings", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("completed_at", Instant),
    sa.Column("closed_by", sa.Text),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("last_attempt_at", Instant),
    sa.Column("last_attempt_outcome", sa.Text),
    sa.Index(
        "uq_task_open_episode_kind",
        "episode_id",
        "kind",
        unique=True,
        sqlite_where=_open_task,
        postgresql_where=_open_task,
    ),
    sa.Index("ix_task_open_due", "due_at", "id", sqlite_where=_open_task, postgresql_where=_open_task),
    sa.Index("ix_task_due_at_id", "due_at", "id"),
    sa.Index("ix_task_stay_id", "stay_id"),
    sa.Index("ix_task_patient_id", "patient_id"),
)

task_attempt = sa.Table(
    "task_attempt",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("task_id", sa.Text, sa.ForeignKey("task.id"), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("reached", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("note", sa.Text),
    sa.Index("ix_task_attempt_task_id", "task_id"),
)

task_history = sa.Table(
    "task_history",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("task_id", sa.Text, sa.ForeignKey("task.id"), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("change", sa.Text, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Index("ix_task_history_task_id", "task_id"),
)

due = sa.Table(
    "due",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("stay_id", sa.Text, sa.ForeignKey("stay.id"), primary_key=True),
    sa.Column("due_at", Instant, nullable=False),
    sa.Index("ix_due_due_at", "due_at"),
)

audit_event = sa.Table(
    "audit_event",
    metadata,
    sa.Column("id", _serial, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
