"""Who connects: addresses that are let in, and what one address may have of us.

An address stands for one sender here: nothing better is known before its certificate is. Promise: what is kept of
addresses is bounded, by the connections that are open and those of the last `BURST_S` seconds, and by `PROVEN_MAX`. No
I/O; times are those of the event loop's monotonic clock, passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

BURST_S: Final = 2.0
"""So many seconds of its rate a sender may send at once: a queue that was held back a moment is not held back again."""
PROVEN_MAX: Final = 1_024
"""Addresses remembered as those of senders; an exchange has hundreds."""
IPV6_SUBSCRIBER_BITS: Final = (
    64  # RFC 6177: the least that one end site is given, so one host may use any address in it
)

Network = IPv4Network | IPv6Network


class Allowance:
    """The messages one peer may still send: a bucket that fills at its rate and holds `BURST_S` seconds of it."""

    __slots__ = ("_at", "_capacity", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._capacity = self._left = max(1.0, rate * BURST_S)
        self._at = now

    def left(self, now: float) -> int:
        """Return how many messages may be taken now."""
        self._left = min(self._capacity, self._left + (now - self._at) * self._rate)
        self._at = now
        return int(self._left)

    def spend(self, count: int) -> None:
        """Note that so many were taken."""
        self._left -= count

    def wait_s(self, now: float) -> float:
        """Return how long it takes until one more may be taken."""
        self.left(now)
        return max(0.0, 1.0 - self._left) / self._rate

    def is_full(self, now: float) -> bool:
        """Tell whether forgetting it would change nothing."""
        self.left(now)
        return self._left >= self._capacity


@dataclass(slots=True)
class Account:
    """What one peer has of us: its open connections, and what it may still send if its rate is limited."""

    key: str
    allowance: Allowance | None
    connections: int = 0


class PeerBook:
    """The accounts of the peers that are connected, and of those that were a moment ago."""

    def __init__(self, allowed: Sequence[Network] = (), *, rate: float | None = None) -> None:
        self._allowed = tuple(allowed)
        self._rate = rate
        self._accounts: dict[str, Account] = {}
        self._proven: dict[str, None] = {}  # in the order of their last proof

    def __len__(self) -> int:
        return len(self._accounts)

    def is_allowed(self, host: str) -> bool:
        """Tell whether an address may connect; without a list every address may."""
        if not self._allowed:
            return True
        address = _address(host)
        return address is not None and any(address in network for network in self._allowed)

    def account(self, host: str, now: float) -> Account:
        """Return the account of an address."""
        key = peer_key(host)
        account = self._accounts.get(key)
        if account is None:
            allowance = None if self._rate is None else Allowance(self._rate, now)
            account = self._accounts[key] = Account(key, allowance)
        return account

    def note_proven(self, account: Account) -> None:
        """Remember that a whole message came from an address."""
        self._proven.pop(account.key, None)
        self._proven[account.key] = None
        if len(self._proven) > PROVEN_MAX:
            del self._proven[next(iter(self._proven))]

    def is_proven(self, account: Account) -> bool:
        """Tell whether a whole message has come from an address before."""
        return account.key in self._proven

    def forget(self, now: float) -> None:
        """Drop the accounts that say nothing any more."""
        idle = [
            key
            for key, account in self._accounts.items()
            if not account.connections and (account.allowance is None or account.allowance.is_full(now))
        ]
        for key in idle:
            del self._accounts[key]


def peer_key(host: str) -> str:
    """Return what an address is counted under: itself, or the network that one IPv6 subscriber is given.

    >>> peer_key("192.0.2.7"), peer_key("::ffff:192.0.2.7"), peer_key("2001:db8::1:2:3:4")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    """
    if ":" not in host:
        return host
    address = _address(host)
    if not isinstance(address, IPv6Address):
        return host if address is None else str(address)
    return str(ip_network((address.packed, IPV6_SUBSCRIBER_BITS), strict=False))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Read an address; one of IPv4 that came by an IPv6 socket is one of IPv4."""
    try:
        address = ip_address(host.partition("%")[0])  # a link-local address names its interface behind it
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
