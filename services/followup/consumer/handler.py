"""The engine-neutral handler: no record stops the stream, and none is passed over.

Promise (house style 12): a batch that fails for a reason of its own is split until the record that cannot be applied
stands alone; that one becomes a dead letter and the rest takes effect. What may pass by itself (`Transient`) is the
loop's to retry: nothing was applied. A failure to write the dead letter leaves here too, and the loop stops.
"""

from collections.abc import Sequence

from services.followup.usecases.apply_events import ApplyEvents
from services.followup.usecases.sorting import Unusable
from services.runtime.errors import Transient
from services.runtime.eventlog.port import Record
from services.runtime.log import Logger


class Handler:
    """Feeds records to the use case. Synchronous; one batch at a time."""

    def __init__(self, apply: ApplyEvents, log: Logger) -> None:
        self._apply = apply
        self._log = log

    def handle(self, topic: str, records: Sequence[Record]) -> None:
        """Apply records, ascending by offset in each partition.

        Raises:
            Transient: run it again; what was applied is recognized.
        """
        try:
            self._apply.handle(topic, records)
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 - the consumer's shell: a record must not stop the stream (P8)
            self._isolate(topic, records, error)

    def _isolate(self, topic: str, records: Sequence[Record], error: Exception) -> None:
        if len(records) > 1:
            middle = len(records) // 2
            self.handle(topic, records[:middle])
            self.handle(topic, records[middle:])
            return
        (record,) = records
        reason = Unusable(
            reason="apply-failed",
            text=f"applying it failed with {type(error).__name__}: report this, mend, then `afterstay dlq replay`",
        )
        self._apply.bury(record, reason)
        self._log.exception(
            "record_buried", topic=topic, partition=record.partition, offset=record.offset, reason=reason.reason
        )
