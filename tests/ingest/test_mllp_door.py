"""A door as it stands: where it listens, what it warns of, and certificates that change under it."""

import io
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.ingest import mllp_door
from services.ingest.door import DoorSettings
from services.ingest.feeds import FeedProfile, Feeds
from services.ingest.measures import provide_door_metrics
from services.ingest.mllp.observation import SilentObserver
from services.ingest.mllp_door import MllpDoor
from services.ingest.senders import Senders
from services.runtime.clock import SystemClock
from services.runtime.errors import Permanent
from services.runtime.log import configure, get_logger
from services.runtime.metrics import Metrics
from tests.ingest.mllp.peers import MESSAGE, Immediate, Stand, ack, until
from tests.support.certificates import SERVER, ServerFiles, client_context, issue, server_files

UTC = ZoneInfo("UTC")
LISTED = FeedProfile(name="mercy", sending_facility="MERCY", zone=UTC, certificates=frozenset({"dns:mercy.test"}))
FREE = FeedProfile(name="lakeside", sending_facility="LAKESIDE", zone=UTC)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    configure("warning")


@pytest.fixture
def place(tmp_path: Path) -> ServerFiles:
    return server_files(tmp_path)


def settings_of(place: ServerFiles, *, host: str = "0.0.0.0") -> DoorSettings:
    return DoorSettings(host=host, tls_cert=place.cert, tls_key=place.key, tls_client_ca=place.client_ca)


@asynccontextmanager
async def standing(settings: DoorSettings, *feeds: FeedProfile) -> AsyncIterator[tuple[MllpDoor, Stand]]:
    door = MllpDoor(
        settings,
        Immediate(),
        feeds=Feeds(feeds),
        observer=SilentObserver(),
        clock=SystemClock(),
        log=get_logger("test"),
    )
    stand = Stand(door._server, await door.start())
    try:
        yield door, stand
    finally:
        for peer in stand.peers:
            peer.writer.transport.abort()
        assert await door.drain(1.0)


def codes(door: MllpDoor) -> list[str]:
    return [one.code for one in door.warnings()]


async def test_a_door_on_this_machine_and_one_with_everything_warn_of_nothing(place: ServerFiles) -> None:
    place.write_certificate(issue(SERVER, by="ours", valid_for=timedelta(days=60)))
    async with standing(DoorSettings()) as (door, _):
        assert codes(door) == []
        assert door.certificate_expires_at is None
    async with standing(settings_of(place), LISTED) as (door, _):
        assert codes(door) == []
        assert door.certificate_expires_at is not None


async def test_what_is_less_safe_than_it_should_be_is_warned_of_as_long_as_it_stands(
    place: ServerFiles, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mllp_door, "WARN_EVERY_S", 0.01)
    async with standing(DoorSettings(host="0.0.0.0", plaintext_beyond_loopback=True)) as (door, _):
        assert codes(door) == ["plaintext-beyond-loopback", "any-address"]
        await until(lambda: log.getvalue().count('"plaintext-beyond-loopback"') >= 3)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {(line["event"], line["kind"], line["level"]) for line in lines} == {
        ("listener_exposed", "security", "warning")
    }
    assert all("dropped_keys" not in line for line in lines)

    any_client = DoorSettings(host="0.0.0.0", tls_cert=place.cert, tls_key=place.key, tls_any_client=True)
    async with standing(any_client, LISTED) as (door, _):
        assert codes(door) == ["any-client", "any-address", "certificate-expiring"]
    async with standing(settings_of(place), LISTED, FREE) as (door, _):
        (free, _) = door.warnings()
        assert (free.code, "lakeside" in free.text, "mercy" in free.text) == ("feeds-without-certificates", True, False)
    place.key.chmod(0o644)
    place.write_certificate(issue(SERVER, by="ours", valid_for=-timedelta(hours=1)))
    async with standing(settings_of(place, host="127.0.0.1"), FREE) as (door, _):
        assert codes(door) == ["certificate-expired", "key-readable"]


async def test_a_rotated_certificate_reaches_senders_without_a_restart_and_a_wrong_one_does_not(
    place: ServerFiles, log: io.StringIO
) -> None:
    sender = issue("sender.test")
    async with standing(settings_of(place, host="127.0.0.1")) as (door, stand):
        inside = await stand.connect(client_context(sender))
        inside.frame(MESSAGE)
        await inside.answers(1)
        place.write(issue(SERVER, by="ours, renewed"), trusting=("hospitals", "new hospitals"))
        door.reload_certificates()
        await until(lambda: door.certificate_reloads)
        new = await stand.connect(client_context(issue("x.test", by="new hospitals"), trusting="ours, renewed"))
        new.frame(MESSAGE)
        assert await new.answers(1) == [ack(MESSAGE)]
        with pytest.raises(ssl.SSLError):
            await stand.connect(client_context(sender))
        place.key.write_bytes(b"nothing")
        door.reload_certificates()
        await until(lambda: "certificate-refused" in codes(door))
        still = await stand.connect(client_context(sender, trusting="ours, renewed"))
        for peer in (inside, new, still):
            peer.frame(MESSAGE)
            assert await peer.answers(1) == [ack(MESSAGE)]
        assert '"certificate_refused"' in log.getvalue()


async def test_an_address_that_is_not_ours_and_a_name_that_is_nobodys_are_said_with_what_to_do() -> None:
    for host, code in (("192.0.2.1", "port-taken"), ("no.such.host.invalid", "host-unknown")):
        door = MllpDoor(
            DoorSettings(host=host), Immediate(), feeds=Feeds(), observer=SilentObserver(), clock=SystemClock(),
            log=get_logger("test"),
        )  # fmt: skip
        with pytest.raises(Permanent, match="--mllp-host") as caught:
            await door.start()
        assert caught.value.code == code
        await door.drain(0.0)


async def test_the_metrics_of_a_door_are_what_it_counts(place: ServerFiles) -> None:
    metrics, senders = Metrics(), Senders(Feeds((LISTED,)))
    async with standing(settings_of(place), LISTED) as (door, stand):
        provide_door_metrics(metrics, door, senders)
        peer = await stand.connect(client_context(issue("mercy.test")))
        peer.frame(MESSAGE)
        await peer.answers(1)
        stranger = await stand.connect(client_context(None))
        with pytest.raises(ssl.SSLError):
            await stranger.answers(1)
        await until(lambda: door.stats.handshakes_failed)
        senders.allow(LISTED, None)
        text = metrics.render().decode()
    assert 'afterstay_tls_handshakes_total{version="TLSv1.3"} 1.0' in text
    assert 'afterstay_tls_handshakes_failed_total{reason="certificate-missing"} 1.0' in text
    assert 'afterstay_ingest_senders_refused_total{feed="mercy"} 1.0' in text
    assert 'afterstay_ingest_listener_warnings{code="certificate-expiring"} 1.0' in text
    (line,) = (one for one in text.splitlines() if one.startswith("afterstay_tls_certificate_expiry_timestamp_seconds"))
    assert float(line.split()[1]) == door.certificate_expires_at
