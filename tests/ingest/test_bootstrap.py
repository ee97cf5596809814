"""Goal: the listener as composed: feeds refused with every problem, a message durable and answered, a clean end."""

import asyncio
import contextlib
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from schemas.events import RAW_HEADER, decode_event
from schemas.topics import ADT_EVENTS
from services.ingest.bootstrap import Listener, ListenerSettings, open_feeds
from services.ingest.door import DoorSettings
from services.ingest.mllp.frame import Frame, FrameDecoder, encode_frame
from services.ingest.mllp.limits import ServerLimits
from services.runtime.errors import ConfigurationError, Permanent, Transient
from services.runtime.eventlog.embedded.publisher import EmbeddedPublisher
from services.runtime.eventlog.embedded.subscriber import EmbeddedSubscriber
from services.runtime.eventlog.port import Record
from services.runtime.log import configure
from tests.support.adt import adt

PATIENCE_S = 10.0
FEEDS = "feeds:\n  - {name: mercy, sending_application: EPIC, sending_facility: MERCY, zone: America/New_York}\n"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure("debug", stream)
    yield stream
    configure("warning")


@pytest.fixture
def feeds_file(tmp_path: Path) -> Path:
    file = tmp_path / "feeds.yaml"
    file.write_text(FEEDS, encoding="utf-8")
    return file


async def open_listener(data_dir: Path, settings: ListenerSettings) -> Listener:
    """Open a listener on the embedded log of a folder."""
    return await Listener.open(settings, partial(EmbeddedPublisher.open, data_dir))


async def exchange(port: int, *payloads: bytes) -> list[bytes]:
    """Send frames on one connection and return as many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    decoder, answers = FrameDecoder(), list[bytes]()
    writer.write(b"".join(map(encode_frame, payloads)))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len(answers) < len(payloads):
                data = await reader.read(65_536)
                assert data, "the listener hung up"
                answers += [event.payload for event in decoder.feed(data) if isinstance(event, Frame)]
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return answers


async def records_of(data_dir: Path) -> list[Record]:
    subscriber = await EmbeddedSubscriber.open(data_dir)
    found: list[Record] = []
    for partition in await subscriber.partitions(ADT_EVENTS):
        found += await subscriber.read(ADT_EVENTS, partition, 0, max_records=100, bytes_max=1_000_000)
    await subscriber.close()
    return found


async def test_a_message_is_durable_and_answered(tmp_path: Path, feeds_file: Path, log: io.StringIO) -> None:
    listener = await open_listener(tmp_path, ListenerSettings(feeds_file=feeds_file))
    port = await listener.start()
    raw = adt("A01", sent="20261124083000", control_id="M1", name="ZEBRAFISH^ANA")
    strange = raw.replace(b"EPIC", b"OTHER")
    answers = await exchange(port, raw, b"junk", strange)
    assert [answer.split(b"MSA|")[1][:2] for answer in answers] == [b"AA", b"AR", b"AA"]
    assert await listener.drain()
    events = [decode_event(record.value) for record in await records_of(tmp_path)]
    assert sorted(event.intake.outcome for event in events) == ["accepted", "unknown_feed", "unreadable"]
    assert {record.header(RAW_HEADER) for record in await records_of(tmp_path)} == {raw, b"junk", strange}
    said = [json.loads(line)["event"] for line in log.getvalue().splitlines()]
    assert {"message_accepted", "message_refused", "message_parked", "connection_opened"} <= set(said)
    assert "ZEBRAFISH" not in log.getvalue()
    assert "1001" not in log.getvalue()
    assert not listener.failed.is_set()


async def test_without_feeds_every_message_is_kept_and_parked(tmp_path: Path, log: io.StringIO) -> None:
    listener = await open_listener(tmp_path, ListenerSettings(feeds_file=None))
    port = await listener.start()
    await exchange(port, adt("A01", sent="20261124083000", control_id="M1"))
    await listener.drain()
    (record,) = await records_of(tmp_path)
    assert decode_event(record.value).intake.reason == "feed-unknown"
    assert "feeds_missing" in log.getvalue()


async def test_a_message_over_the_limit_is_refused_and_its_head_kept(tmp_path: Path, feeds_file: Path) -> None:
    settings = ListenerSettings(feeds_file=feeds_file, door=DoorSettings(limits=ServerLimits(frame_bytes_max=2_000)))
    listener = await open_listener(tmp_path, settings)
    port = await listener.start()
    raw = adt("A01", sent="20261124083000", control_id="M1") + b"OBX|" + b"x" * 3_000
    (answer,) = await exchange(port, raw)
    assert b"MSA|AR|M1" in answer
    await listener.drain()
    (record,) = await records_of(tmp_path)
    assert decode_event(record.value).intake.reason == "frame-too-large"
    assert len(record.header(RAW_HEADER) or b"") <= 2_000


async def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path: Path, feeds_file: Path) -> None:
    first = await open_listener(tmp_path, ListenerSettings(feeds_file=feeds_file))
    port = await first.start()
    other = tmp_path / "other"
    other.mkdir()
    second = await open_listener(other, ListenerSettings(feeds_file=feeds_file, door=DoorSettings(port=port)))
    with pytest.raises(Permanent, match="--mllp-port") as caught:
        await second.start()
    assert caught.value.code == "port-taken"
    await second.drain()
    await first.drain()


def test_a_wrong_feeds_file_is_refused_with_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "feeds.yaml"
    file.write_text(FEEDS + "  - {name: b, zone: Nowhere}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        open_feeds(file)
    assert caught.value.code == "feeds-file-invalid"
    assert [(one.file, one.line) for one in caught.value.problems] == [(file, 3), (file, 3)]


def test_a_feed_may_only_name_a_charset_that_messages_can_be_read_in(tmp_path: Path) -> None:
    file = tmp_path / "feeds.yaml"
    file.write_text(FEEDS.replace("zone:", "charset: KLINGON, zone:"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="KLINGON"):
        open_feeds(file)


async def test_the_listener_shuts_and_opens_its_door(tmp_path: Path, feeds_file: Path) -> None:
    listener = await open_listener(tmp_path, ListenerSettings(feeds_file=feeds_file))
    port = await listener.start()
    raw = adt("A01", sent="20261124083000", control_id="M1")
    listener.pause_accepting()
    with pytest.raises((AssertionError, ConnectionError)):
        await exchange(port, raw)
    listener.resume_accepting()
    assert len(await exchange(port, raw)) == 1
    await listener.drain()


async def test_a_log_that_fails_for_good_is_told_to_who_runs_the_listener(
    tmp_path: Path, feeds_file: Path, log: io.StringIO
) -> None:
    listener = await open_listener(tmp_path, ListenerSettings(feeds_file=feeds_file))
    publisher = listener._publisher
    assert isinstance(publisher, EmbeddedPublisher)
    publisher._on_failure(Transient("log-failed", "a sync failed; restart after a look at the disk"))
    assert listener.failed.is_set()
    assert "event_log_failed" in log.getvalue()
    await listener.drain()
