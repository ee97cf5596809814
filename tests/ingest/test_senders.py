"""Goal: nobody sends in another's name (fault B44). Each pair of a certificate and a feed has one answer."""

from zoneinfo import ZoneInfo

import pytest

from services.ingest.feeds import FeedProfile, Feeds, certificate_name
from services.ingest.mllp.inbound import PeerIdentity
from services.ingest.senders import NOBODY, Senders, read_names, write_names

UTC = ZoneInfo("UTC")


def feed(name: str, *certificates: str) -> FeedProfile:
    return FeedProfile(name=name, sending_facility=name, zone=UTC, certificates=frozenset(certificates))


def identity(*names: str, expires_at: float = 1.0) -> PeerIdentity:
    return PeerIdentity(names=frozenset(names), fingerprint="sha256:" + "0" * 64, expires_at=expires_at)


MERCY = feed("mercy", "dns:adt.mercy.test", "dns:exchange.test")
LAKESIDE = feed("lakeside", "dns:exchange.test")
FREE = feed("free")
SENDERS = (MERCY, LAKESIDE, FREE)


@pytest.mark.parametrize(
    ("who", "as_whom", "allowed"),
    [
        (identity("dns:adt.mercy.test"), MERCY, True),
        (identity("cn:any", "dns:adt.mercy.test"), MERCY, True),
        (identity("dns:adt.mercy.test"), LAKESIDE, False),
        (identity("dns:adt.mercy.test"), FREE, False),  # it is Mercy's and nobody else's
        (identity("dns:adt.mercy.test"), None, False),  # also not a new name's
        (identity("dns:exchange.test"), MERCY, True),
        (identity("dns:exchange.test"), LAKESIDE, True),
        (identity("dns:exchange.test"), FREE, False),
        (identity("dns:other.test"), MERCY, False),
        (identity("dns:other.test"), FREE, True),
        (identity("dns:other.test"), None, True),  # parked: no feed names this sender
        (None, MERCY, False),  # in the clear, who sends has proven nothing
        (None, FREE, True),
        (None, None, True),
    ],
)
def test_a_certificate_and_a_feed(who: PeerIdentity | None, as_whom: FeedProfile | None, allowed: bool) -> None:
    senders = Senders(Feeds(SENDERS))
    assert senders.allow(as_whom, who) is allowed
    assert senders.refused == ({} if allowed else {as_whom.name if as_whom else NOBODY: 1})


def test_a_default_may_list_certificates_too() -> None:
    default = feed("default", "dns:exchange.test")
    senders = Senders(Feeds((FREE,), default=default))
    assert senders.allow(default, identity("dns:exchange.test"))
    assert not senders.allow(default, identity("dns:other.test"))
    assert not senders.allow(FREE, identity("dns:exchange.test"))


def test_without_certificates_in_any_feed_everybody_may_send() -> None:
    senders = Senders(Feeds((FREE,)))
    assert senders.allow(FREE, None)
    assert senders.allow(None, identity("dns:a"))
    assert senders.expiries == {}


def test_the_last_certificate_of_each_feed_is_remembered_by_its_end() -> None:
    senders = Senders(Feeds(SENDERS))
    senders.allow(MERCY, identity("dns:adt.mercy.test", expires_at=1.0))
    senders.allow(MERCY, identity("dns:exchange.test", expires_at=2.0))
    senders.allow(MERCY, identity("dns:other.test", expires_at=3.0))
    assert senders.expiries == {"mercy": 2.0}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dns:adt.mercy.test", "dns:adt.mercy.test"),
        (" DNS: ADT.Mercy.Test ", "dns:adt.mercy.test"),
        ("uri:urn:oid:1.2.3", "uri:urn:oid:1.2.3"),
        ("cn:Mercy ADT Gateway", "cn:mercy adt gateway"),
        ("sha256:" + "aB" * 32, "sha256:" + "ab" * 32),
        ("SHA256:" + ":".join(["AB"] * 32), "sha256:" + "ab" * 32),
        ("sha256:" + "ab" * 31, None),
        ("sha256:" + "xy" * 32, None),
        ("dns:*.mercy.test", None),
        ("dns:", None),
        ("adt.mercy.test", None),
        ("ip:192.0.2.1", None),
        ("", None),
    ],
)
def test_a_certificate_is_listed_by_its_kind_of_name_and_the_whole_name(text: str, name: str | None) -> None:
    assert certificate_name(text) == name


def test_who_sent_it_is_known_from_the_header_of_its_record() -> None:
    sent = PeerIdentity(
        names=frozenset({"sha256:00", "cn:müller adt", "dns:a"}), fingerprint="sha256:00", expires_at=5.0
    )
    known = read_names(write_names(sent))
    assert (known.names, known.fingerprint) == (sent.names, sent.fingerprint)
