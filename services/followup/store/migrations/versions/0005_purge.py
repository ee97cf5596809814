"""An index by which stays that nobody has claimed are found when they are old.

Frozen: later releases add revisions and never edit this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

unlinked = sa.text("patient_id IS NULL")


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "ix_stay_unlinked_updated_at",
        "stay",
        ["updated_at", "id"],
        sqlite_where=unlinked,
        postgresql_where=unlinked,
    )
