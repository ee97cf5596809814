"""Canaries: who has taken which turn, and what is to be purged.

Frozen: later releases add revisions and never edit this one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

instant = sa.BigInteger().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "canary",
        sa.Column("turn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("control_id", sa.Text(), nullable=False),
        sa.Column("sent_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("turn", name="pk_canary"),
    )
