"""The listener's certificates while it runs: taken up when their files change, without a restart.

Promises: new files are used only if they fit each other and are in force; else the old ones stay, and that is said
until it is mended. Who is connected stays so; who connects from now on meets the new certificate and authorities.

Files are compared by content, not by time: a mounted secret is swapped as a link, and copies keep their times. They are
taken when two looks saw the same, since a certificate and its key are written one after the other; or at once when
somebody asks (SIGHUP).
"""

import asyncio
import hashlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.ingest.mllp.certificate_dates import not_after
from services.ingest.mllp.tls import TlsFiles, TlsFilesError, read_file, server_context
from services.runtime.clock import Clock
from services.runtime.lifecycle import in_thread
from services.runtime.log import Logger

LOOK_EVERY_S: Final = 2.0
"""Three small files; so new ones are in use at most five seconds after the last was written."""
_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was made of the files: for handshakes, until when our certificate is valid, and which content it was."""

    context: ssl.SSLContext
    expires_at: datetime
    digest: bytes


def load(files: TlsFiles) -> Loaded:
    """Read the files.

    Raises:
        TlsFilesError: they cannot be used.
    """
    digest = _digest(files)
    context = server_context(files)
    own = _PEM.search(read_file(files.certificate).decode("ascii", "replace"))  # the first of the chain is ours
    try:
        expires_at = not_after(ssl.PEM_cert_to_DER_cert(own[0] if own else ""))
    except ValueError as error:
        raise TlsFilesError(f"{files.certificate} holds no certificate in PEM that can be read") from error
    return Loaded(context=context, expires_at=expires_at, digest=digest)


def _digest(files: TlsFiles) -> bytes:
    """Return what tells one content of the files from another; nothing of a key can be read from it."""
    return hashlib.sha256(b"".join(hashlib.sha256(read_file(path)).digest() for path in files.paths())).digest()


class CertificateWatch:
    """Looks at the files again and again; `use` is called with each new context, on the event loop.

    Attributes:
        refusal: Why the files as they are now are not used; ``None`` where they are.
        reloads: How often new ones were taken up.
    """

    def __init__(
        self,
        files: TlsFiles,
        use: Callable[[ssl.SSLContext], None],
        *,
        clock: Clock,
        log: Logger,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Read the files.

        Raises:
            TlsFilesError: they cannot be used.
        """
        self.refusal: str | None = None
        self.reloads = 0
        self._files = files
        self._use = use
        self._clock = clock
        self._log = log
        self._look_every_s = look_every_s
        self._loaded = load(files)
        self._seen: bytes | str = self._loaded.digest
        self._tried: bytes | str = self._loaded.digest
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """Return what handshakes are made with now."""
        return self._loaded.context

    @property
    def expires_at(self) -> datetime:
        """Return until when our certificate is valid."""
        return self._loaded.expires_at

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch())
        self._task.add_done_callback(self._end)

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look_now(self) -> None:
        """Look at once, and take what is there without a second look."""
        self._asked.set()

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._look_every_s):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked = self._asked.is_set()
            self._asked.clear()
            await self._look(asked=asked)

    async def _look(self, *, asked: bool) -> None:
        try:
            found: bytes | str = await in_thread(None, _digest, self._files)
        except TlsFilesError as error:
            found = str(error)
        settled, self._seen = found == self._seen, found
        if asked or (settled and found != self._tried):
            self._tried = found
            await self._take()

    async def _take(self) -> None:
        try:
            loaded = await in_thread(None, load, self._files)
        except TlsFilesError as error:
            self._refuse(str(error))
            return
        if loaded.expires_at <= self._clock.now():
            self._refuse(f"the certificate {self._files.certificate} expired on {loaded.expires_at:%Y-%m-%d}")
            return
        self._loaded = loaded
        self.refusal = None
        self.reloads += 1
        self._use(loaded.context)
        self._log.info("certificate_reloaded", expires_at=self.expires_at)

    def _refuse(self, why: str) -> None:
        self.refusal = why
        self._log.error("certificate_refused", reason=why, expires_at=self.expires_at)

    def _end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.refusal = "the files are not looked at any more: restart the listener, and report it"
            self._log.error("certificate_watch_failed", exc_info=error)
