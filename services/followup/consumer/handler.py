"""The engine-neutral handler: no record stops the stream, and none is passed over.

Promise (house style 11): a batch that fails for a reason of its own is split until the record that cannot be applied
stands alone; that one becomes a dead letter and the rest takes effect. Two kinds of failure are not the records' and
are the loop's to retry in place: `Transient`, where nothing was applied, and `Ambiguous`, where a commit's answer was
lost; the position says then what of it happened, so that running it again is safe. A failure to write the dead letter
leaves here too, and the loop stops. So it does when one record after the other fails and none takes effect: then it
is not the records (an old release on a newer schema, say), and burying all of them would help nobody.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from services.followup.usecases.apply_events import Applied, ApplyEvents, Gap
from services.followup.usecases.sorting import DEAD_LETTER, Unusable
from services.runtime.errors import Ambiguous, Defect, Transient
from services.runtime.eventlog.port import Record
from services.runtime.log import Logger

BURIED_IN_A_ROW_MAX: Final = 20
"""Real messages that fail one by one come one by one: a bug in one kind of message is between messages that pass."""


class Handler:
    """Feeds records to the use case. Synchronous; one batch at a time."""

    def __init__(self, apply: ApplyEvents, log: Logger) -> None:
        self._apply = apply
        self._log = log
        self._buried_in_a_row = 0

    def handle(self, topic: str, records: Sequence[Record], joined: Mapping[int, int]) -> Applied | Gap:
        """Apply records, ascending by offset in each partition; see `ApplyEvents.deliver` for `joined` and a gap.

        Raises:
            Transient, Ambiguous: run it again; what was applied is recognized.
            Defect: `records-all-fail`.
        """
        try:
            outcome = self._apply.deliver(topic, records, joined=joined)
        except (Transient, Ambiguous):
            raise
        except Exception as error:  # noqa: BLE001 - the consumer's shell: a record must not stop the stream (P8)
            return self._isolate(topic, records, joined, error)
        if isinstance(outcome, Applied) and outcome.fresh:
            self._buried_in_a_row = 0
        return outcome

    def _isolate(
        self, topic: str, records: Sequence[Record], joined: Mapping[int, int], error: Exception
    ) -> Applied | Gap:
        if len(records) > 1:
            middle = len(records) // 2
            first = self.handle(topic, records[:middle], joined)
            if isinstance(first, Gap):
                return first
            second = self.handle(topic, records[middle:], joined)
            return second if isinstance(second, Gap) else _sum(first, second)
        (record,) = records
        return self._bury(record, error)

    def _bury(self, record: Record, error: Exception) -> Applied:
        if self._buried_in_a_row >= BURIED_IN_A_ROW_MAX:
            raise Defect(
                "records-all-fail",
                f"{self._buried_in_a_row} records in a row could not be applied, lastly for {type(error).__name__}, so "
                "it is not they: the consumer stops. See whether this release fits the database's schema; the dead "
                "letters can be replayed with `afterstay dlq replay`",
            ) from error
        reason = Unusable(
            reason="apply-failed",
            text=f"applying it failed with {type(error).__name__}: report this, mend, then `afterstay dlq replay`",
        )
        self._apply.bury(record, reason)
        self._buried_in_a_row += 1
        self._log.error(
            "record_buried",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=reason.reason,
            exc_info=error,
        )
        return Applied(fresh=1, outcomes={(DEAD_LETTER, reason.reason): 1})


def _sum(first: Applied, second: Applied) -> Applied:
    return Applied(
        fresh=first.fresh + second.fresh,
        outcomes=Counter(first.outcomes) + Counter(second.outcomes),
        effects=first.effects + second.effects,
        source_delays=first.source_delays + second.source_delays,
    )
