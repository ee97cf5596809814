"""Certificates that are replaced while the listener runs: taken up when they fit, refused loudly when they do not."""

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from services.ingest.certificate_watch import CertificateWatch, load
from services.ingest.mllp.certificate_dates import not_after
from services.ingest.mllp.tls import TlsFilesError
from services.runtime.clock import SystemClock
from services.runtime.log import configure, get_logger
from tests.ingest.mllp.peers import until
from tests.support.certificates import SERVER, ServerFiles, authority, decoded, issue, server_files

LOOK_EVERY_S = 0.01


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    configure("warning")


@pytest.fixture
def place(tmp_path: Path) -> ServerFiles:
    return server_files(tmp_path)


@asynccontextmanager
async def watching(
    place: ServerFiles, used: list[ssl.SSLContext], look_every_s: float = LOOK_EVERY_S
) -> AsyncIterator[CertificateWatch]:
    watch = CertificateWatch(
        place.files, used.append, clock=SystemClock(), log=get_logger("test"), look_every_s=look_every_s
    )
    watch.start()
    try:
        yield watch
    finally:
        await watch.close()


def events(log: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in log.getvalue().splitlines()]


async def test_new_files_are_taken_up_and_old_ones_not_again(place: ServerFiles, log: io.StringIO) -> None:
    used: list[ssl.SSLContext] = []
    async with watching(place, used) as watch:
        first = watch.context
        leaf = issue(SERVER, by="ours", valid_for=timedelta(days=90))
        place.write_certificate(leaf)
        await until(lambda: used)
        assert watch.context is used[0]
        assert watch.context is not first
        assert watch.expires_at == decoded(leaf).not_valid_after_utc
        with place.client_ca.open("ab") as stream:
            stream.write(authority("new hospitals").cert_pem.bytes())
        await until(lambda: len(used) == 2)
        assert used[1].cert_store_stats()["x509_ca"] == 2
    assert watch.reloads == 2
    assert watch.refusal is None
    assert events(log) == ["certificate_reloaded"] * 2


async def test_wrong_files_are_refused_and_the_old_certificate_stays_until_they_are_mended(
    place: ServerFiles, log: io.StringIO
) -> None:
    used: list[ssl.SSLContext] = []
    async with watching(place, used) as watch:
        before = watch.context
        leaf = issue(SERVER, by="ours")
        place.cert.write_bytes(leaf.cert_chain_pems[0].bytes())
        await until(lambda: watch.refusal)
        assert "is not that of the certificate" in str(watch.refusal)
        place.key.unlink()
        await until(lambda: "cannot be read" in str(watch.refusal))
        place.write_certificate(issue(SERVER, by="ours", valid_for=-timedelta(days=1)))
        await until(lambda: "expired on" in str(watch.refusal))
        assert watch.context is before
        assert not used
        place.write_certificate(leaf)
        await until(lambda: used)
        assert watch.refusal is None
    said = events(log)
    assert said[-1] == "certificate_reloaded"
    assert said[:-1] == ["certificate_refused"] * 3
    assert "PRIVATE" not in log.getvalue()


async def test_files_are_taken_only_after_two_looks_saw_the_same(place: ServerFiles) -> None:
    used: list[ssl.SSLContext] = []
    watch = CertificateWatch(place.files, used.append, clock=SystemClock(), log=get_logger("test"))
    place.cert.write_bytes(issue(SERVER, by="ours").cert_chain_pems[0].bytes())
    await watch._look(asked=False)
    assert watch.refusal is None, "the key is still being written"
    place.write_certificate(issue(SERVER, by="ours"))
    await watch._look(asked=False)
    assert not used
    await watch._look(asked=False)
    assert len(used) == 1
    await watch._look(asked=False)
    assert len(used) == 1


async def test_who_asks_does_not_wait(place: ServerFiles) -> None:
    used: list[ssl.SSLContext] = []
    async with watching(place, used, look_every_s=3_600.0) as watch:
        place.write_certificate(issue(SERVER, by="ours"))
        await asyncio.sleep(0)
        watch.look_now()
        await until(lambda: used)
        place.cert.write_bytes(b"nothing")
        watch.look_now()
        await until(lambda: watch.refusal)
        place.write_certificate(issue(SERVER, by="ours"))
        watch.look_now()
        await until(lambda: len(used) == 2)


async def test_a_swapped_link_is_seen_though_its_time_is_old(tmp_path: Path) -> None:
    for name in ("first", "second"):
        server_files(tmp_path / name)
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "second")  # written before the other, so older
    used: list[ssl.SSLContext] = []
    async with watching(ServerFiles(current), used):
        swapped = tmp_path / "swapped"
        swapped.symlink_to(tmp_path / "first")
        swapped.rename(current)
        await until(lambda: used)


async def test_a_watch_that_breaks_says_so(place: ServerFiles, log: io.StringIO) -> None:
    class BrokenError(Exception):
        pass

    def broken(context: ssl.SSLContext) -> None:
        raise BrokenError

    watch = CertificateWatch(
        place.files, broken, clock=SystemClock(), log=get_logger("test"), look_every_s=LOOK_EVERY_S
    )
    watch.start()
    place.write_certificate(issue(SERVER, by="ours"))
    await until(lambda: "not looked at any more" in str(watch.refusal))
    await watch.close()
    assert events(log)[-1] == "certificate_watch_failed"


def test_files_that_cannot_be_used_are_refused_at_the_start(place: ServerFiles) -> None:
    place.cert.write_bytes(b"")
    with pytest.raises(TlsFilesError):
        load(place.files)


def test_the_end_of_validity_is_that_of_our_own_certificate_in_the_chain(place: ServerFiles) -> None:
    leaf = issue(SERVER, by="ours", valid_for=timedelta(days=77))
    place.write_certificate(leaf)
    assert load(place.files).expires_at == decoded(leaf).not_valid_after_utc


@pytest.mark.parametrize("days", [-20_000, -1, 1, 400, 9_000, 20_000])
def test_the_end_of_validity_is_read_from_both_forms_of_a_time(days: int) -> None:
    leaf = issue("a.test", valid_for=timedelta(days=days))
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    assert not_after(der) == decoded(leaf).not_valid_after_utc


def test_what_is_no_certificate_has_no_end() -> None:
    der = ssl.PEM_cert_to_DER_cert(issue("a.test").cert_chain_pems[0].bytes().decode())
    for wrong in (b"", b"\x30", b"0\x80", der[:40], bytes(60)):
        with pytest.raises(ValueError, match=r"not a certificate|does not match|ascii"):
            not_after(wrong)
