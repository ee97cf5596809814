"""What the connections of one server share, and the door between them and everybody who knocks.

Promise: whoever is refused is ended at once and costs nothing more; those inside are left alone, but for one case. When
every place is taken, a newcomer takes that of the connection which has been in longest without one whole message, if
that is longer than `unproven_grace_s`; at once, if whole messages came from the newcomer's address before. So nobody
can keep good senders out by holding places (faults.md S9).

Touched on the event loop only.
"""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from services.ingest.mllp.inbound import Handler
from services.ingest.mllp.limits import ServerLimits
from services.ingest.mllp.observation import CloseReason, RefuseReason, ServerObserver, ServerStats
from services.ingest.mllp.peers import Account, PeerBook


class Guest(Protocol):
    """A connection that was let in: an MLLP connection, or one whose TLS handshake is under way."""

    def finish(self, reason: CloseReason) -> None:
        """Take no more messages and close in order."""

    def abort(self, reason: CloseReason) -> None:
        """End now, whatever is owed."""

    def sweep(self, now: float) -> None:
        """Apply the time limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place of one connection: its number within the life of the server, its peer's address and account."""

    id: int
    peer: str
    account: Account


@dataclass(slots=True)
class ServerContext:
    """What the connections of one server share; mutable."""

    handler: Handler
    limits: ServerLimits
    observer: ServerObserver
    tls: ssl.SSLContext | None = None  # replaced when certificates are; those inside keep what they have
    peers: PeerBook = field(default_factory=PeerBook)
    stats: ServerStats = field(default_factory=ServerStats)
    connections: dict[int, Guest] = field(default_factory=dict)
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)
    refusing: RefuseReason | None = None
    held_bytes: int = 0
    # Who may be displaced, oldest first, and since when: no whole message yet; of those, no TLS yet.
    _unproven: dict[int, float] = field(default_factory=dict)
    _shaking: dict[int, float] = field(default_factory=dict)

    def enter(self, guest: Guest, transport: asyncio.BaseTransport, *, shakes: bool = False) -> Place | None:
        """Let a connection in and give it its place, or end it at once; `shakes` says that a TLS handshake is next."""
        now = asyncio.get_running_loop().time()
        host, port = (transport.get_extra_info("peername") or ("unknown", 0))[:2]
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        account = self.peers.account(host, now)
        if (refusal := self._refusal(host, account, now, shakes=shakes)) is not None:
            self.stats.connections_refused[refusal] += 1
            self.observer.connection_refused(peer, refusal)
            transport.abort()  # type: ignore[attr-defined]  # of every transport that carries a stream
            return None
        self.stats.connections_accepted += 1
        self.stats.connections_open += 1
        account.connections += 1
        place = Place(id=self.stats.connections_accepted, peer=peer, account=account)
        self.connections[place.id] = guest
        self._unproven[place.id] = now
        if shakes:
            self._shaking[place.id] = now
            self.stats.handshakes_open += 1
        self.all_closed.clear()
        self.observer.connection_opened(place.id, peer)
        return place

    def note_shaken(self, place: Place, guest: Guest) -> None:
        """Note that a TLS handshake is done; another guest goes on in its place."""
        self._end_shaking(place)
        self.connections[place.id] = guest

    def note_proven(self, place: Place) -> None:
        """Note that a connection has sent a whole message: nobody takes its place any more."""
        self._unproven.pop(place.id, None)
        self.peers.note_proven(place.account)

    def leave(self, place: Place, reason: CloseReason) -> None:
        """Give a place back."""
        self._end_shaking(place)
        self._unproven.pop(place.id, None)
        place.account.connections -= 1
        self.stats.connections_open -= 1
        self.stats.connections_closed[reason] += 1
        del self.connections[place.id]
        if not self.connections:
            self.all_closed.set()
        self.observer.connection_closed(place.id, place.peer, reason)

    def _end_shaking(self, place: Place) -> None:
        if self._shaking.pop(place.id, None) is not None:
            self.stats.handshakes_open -= 1

    def _refusal(self, host: str, account: Account, now: float, *, shakes: bool) -> RefuseReason | None:
        """Say why a new connection must not come in, if so; make room for it, if that is allowed."""
        limits = self.limits
        if self.refusing is not None:
            return self.refusing
        if not self.peers.is_allowed(host):
            return RefuseReason.ADDRESS_NOT_ALLOWED
        if account.connections >= limits.connections_per_peer_max:
            return RefuseReason.PEER_CONNECTIONS_MAX
        patience_s = 0.0 if self.peers.is_proven(account) else limits.unproven_grace_s
        if shakes and len(self._shaking) >= limits.handshakes_max:  # who gives way leaves a place, too
            return None if self._displace(self._shaking, now - patience_s) else RefuseReason.HANDSHAKES_MAX
        if len(self.connections) >= limits.connections_max and not self._displace(self._unproven, now - patience_s):
            return RefuseReason.CONNECTIONS_MAX
        return None

    def _displace(self, candidates: dict[int, float], since: float) -> bool:
        """End the oldest of those who have proven nothing, if it was let in by then."""
        oldest = next(iter(candidates.items()), None)
        if oldest is None or oldest[1] > since:
            return False
        guest_id, _ = oldest
        self._unproven.pop(guest_id, None)
        if self._shaking.pop(guest_id, None) is not None:
            self.stats.handshakes_open -= 1
        self.connections[guest_id].abort(CloseReason.DISPLACED)
        return True

    def sweep(self, now: float) -> None:
        """Apply the time limits to all."""
        for guest in tuple(self.connections.values()):
            guest.sweep(now)
        self.peers.forget(now)

    def guests(self) -> Iterable[Guest]:
        """Return those inside, as they are now."""
        return tuple(self.connections.values())
