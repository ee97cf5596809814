"""Brings the log back after it was lost: tries to reach it, forwards the spool, hands over to the direct way.

Promise: whatever fails, it goes on trying, as long as the process runs; what it has not forwarded stays in the spool.
Under load the spool never becomes empty by itself, since something is always on its way to the disk. So for the last
batch new records are held in memory, for a bounded moment, and go first once the spool is empty.
"""

import asyncio
from typing import Protocol

from services.runtime.errors import AfterstayError, Transient
from services.runtime.eventlog.port import Publisher
from services.runtime.eventlog.spooled.delivery import deliver
from services.runtime.eventlog.spooled.probe import Probe
from services.runtime.eventlog.spooled.settings import SpoolSettings
from services.runtime.eventlog.spooled.spool import BATCH_RECORDS_MAX, Spool
from services.runtime.log import get_logger

_log = get_logger(__name__)


class Circuit(Protocol):
    """What the forwarder asks of the publisher that it works for; every call takes effect at once."""

    @property
    def holding(self) -> bool:
        """Tell whether new records are held in memory."""

    def hold(self) -> None:
        """Hold new records in memory, for a bounded time."""

    def release(self) -> None:
        """Spool what is held after all."""

    def found(self) -> None:
        """Note that the log can be reached."""

    def lost(self, error: AfterstayError) -> None:
        """Note that the log could not be reached, or was lost while the spool was forwarded."""

    def forwarded(self) -> None:
        """Note that there may be more room in the spool."""

    def close_circuit(self, direct: Publisher) -> None:
        """Use this publisher directly from now on: the spool is empty."""


class Forwarder:
    """Forwards one spool; `needed` is set while the circuit is open."""

    def __init__(self, circuit: Circuit, spool: Spool, probe: Probe, settings: SpoolSettings) -> None:
        self.needed = asyncio.Event()
        self._circuit = circuit
        self._spool = spool
        self._probe = probe
        self._settings = settings

    async def run(self, opened: Publisher | None) -> None:
        """Work until canceled; `opened` is a publisher to begin with."""
        while True:
            await self.needed.wait()
            direct, opened = opened, None
            if direct is None:
                await asyncio.sleep(self._settings.probe_interval_s)
                found = await self._probe.open(self._settings.answer_timeout_s)
                if isinstance(found, AfterstayError):
                    self._circuit.lost(found)
                    continue
                direct = found
            self._circuit.found()
            error = await self._drain_safely(direct)
            if error is not None:
                self._probe.close_in_background(direct)
                self._circuit.release()
                self._circuit.lost(error)

    async def _drain_safely(self, direct: Publisher) -> AfterstayError | None:
        """Forward the spool; return what failed, of the log or the spool's disk."""
        try:
            return await self._drain(direct)
        except AfterstayError as error:
            return error
        except asyncio.CancelledError:
            self._probe.close_in_background(direct)
            raise
        except Exception as error:  # noqa: BLE001 - a shell loop: it must go on, and say what broke
            _log.error("spool_forwarding_broke", exc_info=error)
            return Transient("log-unavailable", "forwarding the spool broke")

    async def _drain(self, direct: Publisher) -> AfterstayError | None:
        """Forward batch after batch; None once the spool is empty and the circuit closed.

        The first is of one record, the one that did not get through before: a log that can be reached may not take it
        yet (a partition without a leader), and until it does the others would be sent again and again.
        """
        circuit, spool = self._circuit, self._spool
        records_max = 1
        while True:
            if not circuit.holding and spool.pending <= BATCH_RECORDS_MAX:
                circuit.hold()
            spool.changed.clear()
            batch = await spool.next_batch(records_max)
            if batch is not None:
                delivery = await deliver(direct, batch, timeout_s=self._settings.answer_timeout_s)
                await spool.advance(batch, delivery.done, quarantined=delivery.refused, stored=delivery.stored)
                circuit.forwarded()
                if delivery.error is not None:
                    return delivery.error
                records_max = BATCH_RECORDS_MAX
            elif spool.waiting:
                await spool.changed.wait()
            elif circuit.holding and spool.is_empty:
                circuit.close_circuit(direct)
                return None
