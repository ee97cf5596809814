"""Where a group began with a partition: what retention takes from the log's beginning stays counted.

Frozen: later releases add revisions and never edit this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; groups that are there began at the beginning."""
    op.add_column("stream_position", sa.Column("first_offset", sa.BigInteger(), server_default="0", nullable=False))
