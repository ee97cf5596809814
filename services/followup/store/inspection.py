"""What `afterstay doctor` asks of the database; it changes nothing."""

import sqlalchemy as sa

from services.followup.store.tables import panel_membership
from services.runtime.database import read_transaction


def count_members(engine: sa.Engine) -> int:
    """Return how many people have or had a membership on the panel."""
    statement = sa.select(sa.func.count(sa.distinct(panel_membership.c.patient_id)))
    with read_transaction(engine) as connection:
        return connection.execute(statement).scalar_one()
