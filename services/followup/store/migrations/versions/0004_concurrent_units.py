"""What units of work need that run beside each other: books in shards, locks on visit numbers, loads to follow up.

Frozen: later releases add revisions and never edit this one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

instant = sa.BigInteger().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Give the books shards, keeping what they say, and add two tables."""
    _shard("outcome_count", ("outcome", "reason"))
    _shard("ack_count", ("code",))
    op.create_table(
        "visit_lock",
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_visit_lock"),
    )
    op.create_table(
        "panel_rematch",
        sa.Column("id", serial, nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("reached", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_panel_rematch"),
    )


def _shard(table: str, keys: tuple[str, ...]) -> None:
    """Make a table of counts anew with one more column in its key; it has a few dozen rows."""
    counts = sa.table(table, *map(sa.column, (*keys, "n")))
    kept = [dict(row) for row in op.get_bind().execute(sa.select(counts)).mappings()]
    op.drop_table(table)
    made = op.create_table(
        table,
        *(sa.Column(key, sa.Text(), nullable=False) for key in keys),
        sa.Column("shard", sa.Integer(), server_default="0", nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*keys, "shard", name=f"pk_{table}"),
    )
    op.bulk_insert(made, [{**row, "shard": 0} for row in kept])
