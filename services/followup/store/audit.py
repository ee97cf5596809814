"""The audit trail, written in the transaction of what it tells of (port: `usecases.ports.AuditTrail`)."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from services.followup.store.tables import audit_event
from services.followup.usecases.ports import AuditRow

_encode = msgspec.json.Encoder(order="deterministic").encode


class SqlAuditTrail:
    """The audit rows of one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def keep(self, rows: Sequence[AuditRow]) -> None:
        """Keep audit rows."""
        if rows:
            values = [
                {
                    "at": row.at,
                    "actor": row.actor,
                    "action": row.action,
                    "entity": row.entity,
                    "detail": _encode(row.detail).decode(),
                }
                for row in rows
            ]
            self._connection.execute(sa.insert(audit_event), values)
