"""Readings: which one of an event is in force, and that one of newer rules has come.

Frozen: later releases add revisions and never edit this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns, which cost no rewrite of the table, and an index of the few rows that wait."""
    op.add_column("event", sa.Column("reading", sa.Text()))
    op.add_column("event", sa.Column("awaiting", sa.Integer(), nullable=False, server_default="0"))
    awaiting = sa.text("awaiting > 0")
    op.create_index("ix_event_awaiting", "event", ["event_id"], sqlite_where=awaiting, postgresql_where=awaiting)
