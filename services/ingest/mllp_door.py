"""The door of a listener as it stands: the server behind its settings, its certificates, and what it must warn of.

Promise: what is less safe than it should be is said at the start, every hour, and in `warnings()` for as long as it is
so. A warning never stops the listener: patients wait for what it takes in.
"""

import asyncio
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.ingest.certificate_watch import CertificateWatch
from services.ingest.door import DoorSettings
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.mllp.inbound import Handler
from services.ingest.mllp.observation import ServerObserver, ServerStats
from services.ingest.mllp.server import DRAIN_TIMEOUT_S, MllpServer
from services.runtime.clock import Clock
from services.runtime.errors import Permanent
from services.runtime.log import Logger

WARN_EVERY_S: Final = 3_600.0
"""Often enough to be in every day's log, seldom enough to be read there."""
EXPIRY_WARNED: Final = timedelta(days=30)
"""product.md §2.3, CertExpiring: an authority may need weeks."""
FEEDS_NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorWarning:
    """What an operator should change about a door that stands: a stable code, and advice."""

    code: str
    text: str


class MllpDoor:
    """Make it on the event loop, start it once, drain it once."""

    def __init__(
        self,
        settings: DoorSettings,
        handler: Handler,
        *,
        feeds: Feeds,
        observer: ServerObserver,
        clock: Clock,
        log: Logger,
    ) -> None:
        """Take settings that were checked, and read the files of TLS.

        Raises:
            TlsFilesError: they have become unusable since.
        """
        self._settings = settings
        self._feeds = feeds
        self._clock = clock
        self._log = log
        self._is_loopback = settings.is_loopback()
        self._watch: CertificateWatch | None = None
        if settings.tls_files is not None:
            self._watch = CertificateWatch(settings.tls_files, self._use_tls, clock=clock, log=log)
        self._server = MllpServer(
            handler,
            limits=settings.server_limits(),
            observer=observer,
            tls=self._watch.context if self._watch is not None else None,
            allowed=settings.networks(),
        )
        self._warn_timer: asyncio.TimerHandle | None = None

    @property
    def stats(self) -> ServerStats:
        """Give the live counts."""
        return self._server.stats

    @property
    def certificate_expires_at(self) -> float | None:
        """Return until when our certificate is valid, in seconds since 1970; ``None`` without TLS."""
        return self._watch.expires_at.timestamp() if self._watch is not None else None

    @property
    def certificate_reloads(self) -> int:
        """Return how often new certificates were taken up."""
        return self._watch.reloads if self._watch is not None else 0

    async def start(self) -> int:
        """Listen, and return the port.

        Raises:
            Permanent: `host-unknown`, `port-taken`.
        """
        host, port = self._settings.host, self._settings.port
        try:
            bound = await self._server.start(host, port)
        except socket.gaierror as error:
            raise Permanent(
                "host-unknown",
                f"the MLLP host {host} is not known ({error.strerror}): give an address with --mllp-host",
            ) from error
        except OSError as error:
            raise Permanent(
                "port-taken",
                f"the MLLP port {port} on {host} cannot be bound ({error.strerror}): choose another with --mllp-port, "
                "or an address of this machine with --mllp-host",
            ) from error
        if self._watch is not None:
            self._watch.start()
        self._warn()
        return bound

    async def drain(self, timeout_s: float = DRAIN_TIMEOUT_S) -> bool:
        """Stop listening and answer what is in flight; return whether all was answered in time."""
        if self._warn_timer is not None:
            self._warn_timer.cancel()
        if self._watch is not None:
            await self._watch.close()
        return await self._server.drain(timeout_s)

    def pause_accepting(self) -> None:
        """Refuse new connections; those inside stay."""
        self._server.pause_accepting()

    def resume_accepting(self) -> None:
        """Let connections in again."""
        self._server.resume_accepting()

    def reload_certificates(self) -> None:
        """Look at the files of TLS at once, as SIGHUP asks; without TLS there are none."""
        if self._watch is not None:
            self._watch.look_now()

    def warnings(self) -> list[DoorWarning]:
        """Return what should be changed, for as long as it should."""
        return [*self._exposure_warnings(), *self._certificate_warnings()]

    def _use_tls(self, context: ssl.SSLContext) -> None:
        self._server.use_tls(context)

    def _warn(self) -> None:
        for warning in self.warnings():
            self._log.warning("listener_exposed", kind="security", code=warning.code, reason=warning.text)
        self._warn_timer = asyncio.get_running_loop().call_later(WARN_EVERY_S, self._warn)

    def _exposure_warnings(self) -> Iterator[DoorWarning]:
        settings = self._settings
        if self._is_loopback:
            return
        if self._watch is None:
            yield DoorWarning(
                code="plaintext-beyond-loopback",
                text="patients' data crosses the network in the clear, and anybody on it can send and read: give "
                "--tls-cert, --tls-key and --tls-client-ca",
            )
        elif settings.tls_client_ca is None:
            yield DoorWarning(
                code="any-client",
                text="anybody who reaches the port can send in a hospital's name: give --tls-client-ca",
            )
        elif free := [one.name for one in self._profiles() if not one.certificates]:
            named = ", ".join(free[:FEEDS_NAMED_MAX]) + (" and others" if len(free) > FEEDS_NAMED_MAX else "")
            yield DoorWarning(
                code="feeds-without-certificates",
                text=f"any trusted certificate that no feed lists can send as {named}: list theirs under "
                "`certificates` in the feeds file",
            )
        if not settings.allow_from and (self._watch is None or settings.tls_client_ca is None):
            yield DoorWarning(
                code="any-address", text="any address may connect: give the senders' addresses with --allow-from"
            )

    def _profiles(self) -> tuple[FeedProfile, ...]:
        default = self._feeds.default
        return self._feeds.profiles if default is None else (*self._feeds.profiles, default)

    def _certificate_warnings(self) -> Iterator[DoorWarning]:
        if self._watch is None:
            return
        day = f"{self._watch.expires_at:%Y-%m-%d}"
        left = self._watch.expires_at - self._clock.now()
        if left <= timedelta(0):
            yield DoorWarning(
                code="certificate-expired",
                text=f"the listener's certificate expired on {day}: senders refuse it; put a new one in its place",
            )
        elif left <= EXPIRY_WARNED:
            yield DoorWarning(
                code="certificate-expiring",
                text=f"the listener's certificate expires on {day}: put a new one in its place",
            )
        if self._watch.refusal is not None:
            yield DoorWarning(
                code="certificate-refused",
                text=f"new certificates are not used, the old ones stay: {self._watch.refusal}",
            )
        if self._is_key_open():
            yield DoorWarning(
                code="key-readable",
                text=f"every user of this machine can read the key {self._settings.tls_key}: chmod 600",
            )

    def _is_key_open(self) -> bool:
        key = self._settings.tls_key
        try:
            return key is not None and bool(key.stat().st_mode & stat.S_IROTH)
        except OSError:
            return False  # that it is gone is said by the watch
