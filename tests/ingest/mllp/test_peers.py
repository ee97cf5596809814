"""Addresses, accounts and allowances: arithmetic on values."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.mllp.peers import BURST_S, PROVEN_MAX, Allowance, PeerBook, peer_key


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("192.0.2.7", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.2.7", True),  # how a socket of both families shows an IPv4 peer
        ("2001:db8:1::1", True),
        ("2001:db8:2::1", False),
        ("fe80::1%eth0", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_only_listed_addresses_may_connect(host: str, allowed: bool) -> None:
    book = PeerBook((ip_network("192.0.2.0/24"), ip_network("2001:db8:1::/48")))
    assert book.is_allowed(host) is allowed
    assert PeerBook().is_allowed(host)


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:0:2", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_address_counts_as_one_peer_and_so_does_an_ipv6_network(host: str, key: str) -> None:
    assert peer_key(host) == key


def test_an_account_is_kept_while_it_says_something() -> None:
    book = PeerBook(rate=10.0)
    account = book.account("192.0.2.7", 0.0)
    assert book.account("192.0.2.7", 5.0) is account
    account.connections += 1
    book.forget(100.0)
    assert len(book) == 1
    account.connections -= 1
    assert account.allowance is not None
    account.allowance.spend(account.allowance.left(100.0))
    book.forget(100.0)
    assert len(book) == 1, "who reconnects gets no new burst"
    book.forget(100.0 + BURST_S)
    assert len(book) == 0

    unlimited = PeerBook()
    unlimited.account("192.0.2.7", 0.0)
    unlimited.forget(0.0)
    assert len(unlimited) == 0


def test_addresses_that_proved_themselves_are_remembered_up_to_a_bound() -> None:
    book = PeerBook()
    first = book.account("192.0.2.7", 0.0)
    book.note_proven(first)
    book.forget(0.0)
    assert book.is_proven(book.account("192.0.2.7", 1.0))
    assert not book.is_proven(book.account("192.0.2.8", 1.0))
    for number in range(PROVEN_MAX - 1):
        book.note_proven(book.account(f"2001:db8:0:{number:x}::1", 1.0))
    book.note_proven(first)
    book.note_proven(book.account("192.0.2.9", 1.0))
    assert book.is_proven(first), "it proved itself again meanwhile"
    assert not book.is_proven(book.account("2001:db8::1", 1.0))


def test_an_allowance_gives_a_burst_and_then_its_rate() -> None:
    allowance = Allowance(10.0, now=0.0)
    assert allowance.left(0.0) == 10 * BURST_S
    allowance.spend(20)
    assert allowance.left(0.0) == 0
    assert allowance.wait_s(0.0) == pytest.approx(0.1)
    assert allowance.left(0.5) == 5
    assert allowance.wait_s(0.5) == 0.0
    assert not allowance.is_full(0.5)
    assert allowance.left(60.0) == 20
    assert allowance.is_full(60.0)


@given(
    rate=st.floats(0.1, 10_000.0),
    steps=st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(0, 1_000)), max_size=40),
)
def test_nobody_is_given_more_than_a_burst_and_the_rate(rate: float, steps: list[tuple[float, int]]) -> None:
    allowance = Allowance(rate, now=0.0)
    now, taken = 0.0, 0
    for pause, wanted in steps:
        now += pause
        count = min(wanted, allowance.left(now))
        allowance.spend(count)
        taken += count
        assert count >= 0
    assert taken <= max(1.0, rate * BURST_S) + rate * now + 1e-6


@given(rate=st.floats(0.1, 10_000.0))
def test_after_the_wait_there_is_one(rate: float) -> None:
    allowance = Allowance(rate, now=0.0)
    allowance.spend(allowance.left(0.0))
    assert allowance.left(allowance.wait_s(0.0) * (1 + 1e-9)) >= 1
