"""Whether who sends may say what is sent: the certificate of a connection against the sender its message names.

Promises (fault B44):

- As a feed that lists certificates sends only who has shown one of them.
- A certificate that some feed lists sends as the feeds that list it and as nobody else, also not as a sender that no
  feed names.
- What is let in was allowed when it came; that is decided here once and not again when a message is read anew.
"""

from collections import Counter
from typing import Final

from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.mllp.inbound import PeerIdentity

NOT_ALLOWED: Final = "sender-not-allowed"
NOBODY: Final = "none"
"""In counts, where no feed names the sender."""


class Senders:
    """The check, and what it has seen.

    Attributes:
        refused: How often somebody was refused, by the feed that they meant to be.
        expiries: Until when the certificate last seen of each feed is valid, in seconds since 1970.
    """

    def __init__(self, feeds: Feeds) -> None:
        profiles = feeds.profiles if feeds.default is None else (*feeds.profiles, feeds.default)
        self._listed = frozenset[str]().union(*(one.certificates for one in profiles))
        self.refused: Counter[str] = Counter()
        self.expiries: dict[str, float] = {}

    def allow(self, feed: FeedProfile | None, identity: PeerIdentity | None) -> bool:
        """Tell whether a peer may send as a feed, or as a sender that no feed names, and count it."""
        if identity is None and not self._listed:
            return True  # the usual case on one machine
        if not self._is_allowed(feed, identity):
            self.refused[feed.name if feed is not None else NOBODY] += 1
            return False
        if feed is not None and identity is not None:
            self.expiries[feed.name] = identity.expires_at
        return True

    def _is_allowed(self, feed: FeedProfile | None, identity: PeerIdentity | None) -> bool:
        names = identity.names if identity is not None else frozenset[str]()
        if feed is not None and feed.certificates:
            return not names.isdisjoint(feed.certificates)
        return names.isdisjoint(self._listed)


def write_names(identity: PeerIdentity) -> bytes:
    """Return the names of a certificate as a record's header holds them."""
    return "\n".join(sorted(identity.names)).encode()


def read_names(header: bytes) -> PeerIdentity:
    """Return who sent a record's message, as far as its header tells."""
    names = frozenset(header.decode().splitlines())
    fingerprint = next((name for name in names if name.startswith("sha256:")), "")
    return PeerIdentity(names=names, fingerprint=fingerprint, expires_at=0.0)
