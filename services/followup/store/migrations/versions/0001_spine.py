"""The spine: panel, events and books, stays, tasks, timers, audit.

Frozen: later releases add revisions and never edit this one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

instant = sa.BigInteger().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "ack_count",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_ack_count"),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", serial, nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_event"),
    )
    op.create_table(
        "dead_letter",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("resolved_at", instant, nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name="pk_dead_letter"),
    )
    op.create_index("ix_dead_letter_event_id", "dead_letter", ["event_id"], unique=False)
    op.create_table(
        "outcome_count",
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("outcome", "reason", name="pk_outcome_count"),
    )
    op.create_table(
        "panel_import",
        sa.Column("id", serial, nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("imported_at", instant, nullable=False),
        sa.Column("imported_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_panel_import"),
    )
    op.create_table(
        "patient",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("middle", sa.Text(), nullable=True),
        sa.Column("suffix", sa.Text(), nullable=True),
        sa.Column("birth_date", sa.Date(), nullable=False),
        sa.Column("sex", sa.Text(), nullable=True),
        sa.Column("street", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("zip", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("ssn4", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("interpreter", sa.Boolean(), nullable=True),
        sa.Column("guardian_name", sa.Text(), nullable=True),
        sa.Column("guardian_relation", sa.Text(), nullable=True),
        sa.Column("guardian_phone", sa.Text(), nullable=True),
        sa.Column("updated_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_patient"),
    )
    op.create_table(
        "source_patient",
        sa.Column("id", serial, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_source_patient"),
        sa.UniqueConstraint("key", name="uq_source_patient_key"),
    )
    op.create_table(
        "stream_position",
        sa.Column("consumer_group", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition", name="pk_stream_position"),
    )
    op.create_table(
        "match_key",
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", "patient_id", name="pk_match_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "panel_membership",
        sa.Column("id", serial, nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=True),
        sa.Column("effective_to", sa.Date(), nullable=True),
        sa.Column("practice", sa.Text(), nullable=True),
        sa.Column("pcp", sa.Text(), nullable=True),
        sa.Column("program", sa.Text(), nullable=True),
        sa.Column("import_id", serial, nullable=False),
        sa.Column("source_row", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["panel_import.id"], name="fk_panel_membership_import_id"),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name="fk_panel_membership_patient_id"),
        sa.PrimaryKeyConstraint("id", name="pk_panel_membership"),
    )
    op.create_index("ix_panel_membership_patient_id", "panel_membership", ["patient_id"], unique=False)
    op.create_table(
        "patient_identifier",
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name="fk_patient_identifier_patient_id"),
        sa.PrimaryKeyConstraint("authority", "value", "type", "patient_id", name="pk_patient_identifier"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_patient_identifier_patient_id", "patient_identifier", ["patient_id"], unique=False)
    op.create_table(
        "stay",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source_patient_id", serial, nullable=False),
        sa.Column("visit_authority", sa.Text(), nullable=True),
        sa.Column("visit_number", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("discharged_on", sa.Date(), nullable=True),
        sa.Column("view", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("match_state", sa.Text(), nullable=False),
        sa.Column("match", sa.Text(), nullable=False),
        sa.Column("follow_up", sa.Text(), nullable=False),
        sa.Column("follow_up_reason", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("outcome_reason", sa.Text(), nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name="fk_stay_patient_id"),
        sa.ForeignKeyConstraint(["source_patient_id"], ["source_patient.id"], name="fk_stay_source_patient_id"),
        sa.PrimaryKeyConstraint("id", name="pk_stay"),
    )
    op.create_index("ix_stay_patient_id", "stay", ["patient_id"], unique=False)
    op.create_index("ix_stay_source_patient_id", "stay", ["source_patient_id"], unique=False)
    op.create_index("ix_stay_visit_number_visit_authority", "stay", ["visit_number", "visit_authority"], unique=False)
    op.create_table(
        "due",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stay_id", sa.Text(), nullable=False),
        sa.Column("due_at", instant, nullable=False),
        sa.ForeignKeyConstraint(["stay_id"], ["stay.id"], name="fk_due_stay_id"),
        sa.PrimaryKeyConstraint("kind", "stay_id", name="pk_due"),
    )
    op.create_index("ix_due_due_at", "due", ["due_at"], unique=False)
    op.create_table(
        "fragment",
        sa.Column("id", serial, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("source_patient_id", serial, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stay_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["source_patient_id"], ["source_patient.id"], name="fk_fragment_source_patient_id"),
        sa.ForeignKeyConstraint(["stay_id"], ["stay.id"], name="fk_fragment_stay_id"),
        sa.PrimaryKeyConstraint("id", name="pk_fragment"),
        sa.UniqueConstraint("key", name="uq_fragment_key"),
    )
    op.create_index("ix_fragment_source_patient_id", "fragment", ["source_patient_id"], unique=False)
    op.create_index("ix_fragment_stay_id", "fragment", ["stay_id"], unique=False)
    op.create_table(
        "match_review",
        sa.Column("id", serial, nullable=False),
        sa.Column("stay_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("closed_at", instant, nullable=True),
        sa.ForeignKeyConstraint(["stay_id"], ["stay.id"], name="fk_match_review_stay_id"),
        sa.PrimaryKeyConstraint("id", name="pk_match_review"),
    )
    op.create_index(
        "uq_match_review_open",
        "match_review",
        ["stay_id", "kind"],
        unique=True,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("episode_id", sa.Text(), nullable=False),
        sa.Column("stay_id", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason_code", sa.Text(), nullable=True),
        sa.Column("status_reason_text", sa.Text(), nullable=True),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("discharged_on", sa.Date(), nullable=False),
        sa.Column("discharged_at", instant, nullable=True),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("last_on", sa.Date(), nullable=False),
        sa.Column("due_at", instant, nullable=False),
        sa.Column("work_by", sa.Date(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("completed_at", instant, nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("last_attempt_at", instant, nullable=True),
        sa.Column("last_attempt_outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name="fk_task_patient_id"),
        sa.ForeignKeyConstraint(["stay_id"], ["stay.id"], name="fk_task_stay_id"),
        sa.PrimaryKeyConstraint("id", name="pk_task"),
    )
    op.create_index("ix_task_due_at_id", "task", ["due_at", "id"], unique=False)
    op.create_index(
        "ix_task_open_due",
        "task",
        ["due_at", "id"],
        unique=False,
        sqlite_where=sa.text("status IN ('requested', 'accepted', 'in-progress', 'on-hold')"),
        postgresql_where=sa.text("status IN ('requested', 'accepted', 'in-progress', 'on-hold')"),
    )
    op.create_index("ix_task_patient_id", "task", ["patient_id"], unique=False)
    op.create_index("ix_task_stay_id", "task", ["stay_id"], unique=False)
    op.create_index(
        "uq_task_open_episode_kind",
        "task",
        ["episode_id", "kind"],
        unique=True,
        sqlite_where=sa.text("status IN ('requested', 'accepted', 'in-progress', 'on-hold')"),
        postgresql_where=sa.text("status IN ('requested', 'accepted', 'in-progress', 'on-hold')"),
    )
    op.create_table(
        "event",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("normalizer", sa.Integer(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("control_id", sa.Text(), nullable=True),
        sa.Column("ack", sa.Text(), nullable=False),
        sa.Column("sent_at", instant, nullable=True),
        sa.Column("received_at", instant, nullable=False),
        sa.Column("applied_at", instant, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("fragment_id", serial, nullable=True),
        sa.ForeignKeyConstraint(["fragment_id"], ["fragment.id"], name="fk_event_fragment_id"),
        sa.PrimaryKeyConstraint("event_id", name="pk_event"),
    )
    op.create_index("ix_event_control_id", "event", ["control_id"], unique=False)
    op.create_index("ix_event_fragment_id", "event", ["fragment_id"], unique=False)
    op.create_table(
        "task_attempt",
        sa.Column("id", serial, nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("recorded_at", instant, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("reached", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_task_attempt_task_id"),
        sa.PrimaryKeyConstraint("id", name="pk_task_attempt"),
    )
    op.create_index("ix_task_attempt_task_id", "task_attempt", ["task_id"], unique=False)
    op.create_table(
        "task_history",
        sa.Column("id", serial, nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name="fk_task_history_task_id"),
        sa.PrimaryKeyConstraint("id", name="pk_task_history"),
    )
    op.create_index("ix_task_history_task_id", "task_history", ["task_id"], unique=False)
