"""TLS as the listener means it, against a real server: who is let in, who is not and by which word, on both loops."""

import asyncio
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.ingest.mllp.frame import encode_frame
from services.ingest.mllp.observation import CloseReason, HandshakeFailure, RefuseReason
from services.ingest.mllp.tls import TlsFiles, TlsFilesError, server_context
from tests.ingest.mllp.peers import (
    BRIEF_S,
    MESSAGE,
    PATIENCE_S,
    Immediate,
    Listening,
    Peer,
    Stand,
    ack,
    brief,
    on_both_loops,
    sender_tls,
    server_tls,
    serving,
    until,
)
from tests.support.certificates import (
    SERVER,
    ServerFiles,
    authority,
    client_context,
    fingerprint,
    issue,
    revocation_list,
    server_files,
)


@contextmanager
def files() -> Iterator[ServerFiles]:
    with tempfile.TemporaryDirectory() as folder:
        yield server_files(Path(folder))


async def refused(stand: Stand, context: ssl.SSLContext, failure: HandshakeFailure, *, name: str = SERVER) -> str:
    """Try to get in; return what the peer is told, once the server has counted it by its word."""
    before = stand.server.stats.handshakes_failed[failure]
    peer = await stand.reach()
    told = ""
    try:
        await peer.shake(context, name)
        peer.frame(MESSAGE)
        assert await peer.rest() == b""
    except ssl.SSLError as error:
        told = error.reason or ""
    except ConnectionError:
        told = "reset"
    await until(lambda: stand.server.stats.handshakes_failed[failure] == before + 1)
    peer.writer.transport.abort()
    await until(lambda: not stand.server.stats.connections_open)
    return told


# Who is let in


@on_both_loops
async def test_a_sender_with_a_trusted_certificate_is_heard_and_known() -> None:
    leaf = issue("adt.mercy.test", common_name="Mercy ADT")
    handler, heard = Immediate(), Listening()
    async with serving(handler, observer=heard, tls=server_tls()) as stand:
        peer = await stand.connect(client_context(leaf))
        peer.frame(MESSAGE)
        assert await peer.answers(1) == [ack(MESSAGE)]

        identity = handler.seen[0].identity
        assert identity is not None
        assert identity.names == {fingerprint(leaf), "dns:adt.mercy.test", "cn:mercy adt"}
        assert identity.fingerprint == fingerprint(leaf)
        assert ("handshake", identity) in heard.heard
        assert stand.server.stats.handshakes == {"TLSv1.3": 1}
        assert stand.server.stats.handshakes_open == 0


@on_both_loops
async def test_a_sender_of_tls_1_2_is_heard_and_one_with_an_old_cipher_is_not() -> None:
    context = client_context(issue("sender.test"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(Immediate(), brief(linger_s=BRIEF_S), tls=server_tls()) as stand:
        peer = await stand.reach()
        tls = await peer.shake(context)
        peer.frame(MESSAGE)
        assert await peer.answers(1) == [ack(MESSAGE)]
        assert stand.server.stats.handshakes == {"TLSv1.2": 1}
        cipher = tls.cipher()
        assert cipher is not None
        assert cipher[0].startswith("ECDHE-")
        peer.writer.close()
        await until(lambda: not stand.server.stats.connections_open)

        context.set_ciphers("ECDHE+AES:!AESGCM:!AESCCM")
        await refused(stand, context, HandshakeFailure.CIPHERS_DIFFER)


@on_both_loops
async def test_without_an_authority_nobody_is_asked_for_a_certificate() -> None:
    handler = Immediate()
    with files() as place:
        context = server_context(TlsFiles(certificate=place.cert, key=place.key))
    async with serving(handler, tls=context) as stand:
        peer = await stand.connect(client_context(issue("sender.test")))
        peer.frame(MESSAGE)
        await peer.answers(1)
        assert handler.seen[0].identity is None


# Who is not


@on_both_loops
async def test_who_is_not_trusted_gets_no_byte_through_and_is_counted_by_reason() -> None:
    revoked = issue("gone.test")
    handler, heard = Immediate(), Listening()
    with files() as place:
        with place.client_ca.open("ab") as stream:
            stream.write(revocation_list(revoked))
        tls = place.context()
    async with serving(handler, brief(linger_s=BRIEF_S), heard, tls=tls) as stand:
        assert await refused(stand, client_context(None), HandshakeFailure.CERTIFICATE_MISSING) == (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        )
        strange = client_context(issue("sender.test", by="strangers"))
        assert await refused(stand, strange, HandshakeFailure.CERTIFICATE_UNTRUSTED) == "TLSV1_ALERT_UNKNOWN_CA"
        expired = client_context(issue("sender.test", valid_for=-timedelta(days=1)))
        assert await refused(stand, expired, HandshakeFailure.CERTIFICATE_EXPIRED) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"
        gone = client_context(revoked)
        assert await refused(stand, gone, HandshakeFailure.CERTIFICATE_REVOKED) == "SSLV3_ALERT_CERTIFICATE_REVOKED"

        assert handler.seen == []
        failures = stand.server.stats.handshakes_failed
        assert sum(failures.values()) == 4
        assert [what for kind, what in heard.heard if kind == "handshake failed"] == list(failures)
        assert stand.server.stats.connections_closed == {CloseReason.HANDSHAKE_FAILED: 4}
        peer = await stand.connect(client_context(issue("kept.test")))
        peer.frame(MESSAGE)
        assert await peer.answers(1) == [ack(MESSAGE)]


@on_both_loops
async def test_a_sender_that_does_not_trust_us_says_so() -> None:
    async with serving(Immediate(), brief(linger_s=BRIEF_S), tls=server_tls()) as stand:
        context = client_context(issue("sender.test"), trusting="strangers")
        await refused(stand, context, HandshakeFailure.REFUSED_BY_PEER)
        await refused(stand, client_context(issue("a.test")), HandshakeFailure.REFUSED_BY_PEER, name="other.test")


@on_both_loops
async def test_tls_1_1_is_refused_with_the_alert_that_says_so() -> None:
    # A ClientHello of TLS 1.1 by hand, since this OpenSSL speaks none: RFC 4346 §7.4.1.2.
    hello = b"\x03\x02" + bytes(32) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    handshake = b"\x01" + len(hello).to_bytes(3, "big") + hello
    async with serving(Immediate(), brief(linger_s=BRIEF_S), tls=server_tls()) as stand:
        peer = await stand.reach()
        peer.say(b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake)
        alert = await peer.rest()

        assert alert[:1] == b"\x15"
        assert alert[-2:] == b"\x02\x46", "fatal, protocol_version (RFC 8446 §6)"
        assert stand.server.stats.handshakes_failed == {HandshakeFailure.VERSION_UNSUPPORTED: 1}


@on_both_loops
async def test_a_sender_in_the_clear_is_ended_with_that_reason_and_is_not_answered() -> None:
    handler = Immediate()
    async with serving(handler, brief(linger_s=BRIEF_S), tls=server_tls()) as stand:
        for talk in (encode_frame(MESSAGE), b"GET / HTTP/1.1\r\n\r\n", b"\r"):
            peer = await stand.reach()
            peer.say(talk)
            assert await peer.rest() == b""

        assert handler.seen == []
        assert stand.server.stats.handshakes_failed == {HandshakeFailure.PLAINTEXT: 3}


@on_both_loops
async def test_a_tls_sender_on_a_plaintext_port_is_ended_with_that_reason() -> None:
    async with serving(Immediate(), brief()) as stand:
        peer = await stand.reach()
        with pytest.raises(ConnectionError):
            await peer.shake(sender_tls())
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.TALKS_TLS: 1})


@on_both_loops
async def test_garbage_a_cut_and_silence_end_a_handshake_and_free_its_place() -> None:
    async with serving(Immediate(), brief(linger_s=BRIEF_S), tls=server_tls()) as stand:
        peer = await stand.reach()
        peer.say(b"\x16\x03\x01\x00\x05hello")
        await peer.rest()
        peer = await stand.reach()
        peer.say(b"\x16\x03\x01\x02\x00\x01")
        peer.writer.write_eof()
        assert await peer.rest() == b""
        peer = await stand.reach()
        await until(lambda: stand.server.stats.handshakes_open)
        peer.reset()
        await until(lambda: not stand.server.stats.connections_open)
        failed = stand.server.stats.handshakes_failed
        assert failed == {HandshakeFailure.BROKEN: 1, HandshakeFailure.CUT_OFF: 2}

    async with serving(Immediate(), brief(handshake_timeout_s=BRIEF_S), tls=server_tls()) as stand:
        peer = await stand.reach()
        assert await peer.rest() == b""
        assert stand.server.stats.handshakes_failed == {HandshakeFailure.TIMEOUT: 1}


# On the wire


@on_both_loops
async def test_any_pieces_on_the_wire_give_the_same_messages() -> None:
    handler = Immediate()
    payloads = [b"MSH|%d|" % number + b"x" * (number * 97) for number in range(30)]
    async with serving(handler, tls=server_tls()) as stand:
        for piece_bytes in (1, 7, 1_000):
            peer = await stand.reach()
            peer.piece_bytes = piece_bytes
            await peer.shake(sender_tls())
            for payload in payloads:
                peer.frame(payload)
            assert await peer.answers(30) == [ack(payload) for payload in payloads]
        assert [one.payload for one in handler.seen] == payloads * 3


@on_both_loops
async def test_the_first_message_may_come_in_one_piece_with_the_end_of_the_handshake() -> None:
    class Together(Peer):
        """Keeps back what it sends until it is told to send it."""

        held = b""

        def _send(self, data: bytes) -> None:
            self.held += data

        def let_go(self) -> None:
            super()._send(self.held)
            self.held = b""

    async with serving(Immediate(), tls=server_tls()) as stand:
        raw = await stand.reach()
        peer = Together(raw._reader, raw.writer)
        shaking = asyncio.ensure_future(peer.shake(sender_tls()))
        await until(lambda: peer.held)
        peer.let_go()
        await shaking
        peer.frame(b"MSH|1", b"MSH|2")
        peer.let_go()
        assert await peer.answers(2) == [ack(b"MSH|1"), ack(b"MSH|2")]


@on_both_loops
async def test_a_message_of_a_megabyte_and_its_answer_pass() -> None:
    payload = MESSAGE + b"x" * 1_000_000
    async with serving(Immediate(), tls=server_tls()) as stand:
        peer = await stand.connect(sender_tls())
        peer.frame(payload)
        assert await peer.answers(1) == [ack(payload)]


@on_both_loops
async def test_bytes_that_break_tls_end_the_connection_and_none_of_them_is_taken() -> None:
    handler = Immediate()
    async with serving(handler, tls=server_tls()) as stand:
        peer = await stand.connect(sender_tls())
        peer.frame(b"MSH|1")
        await peer.answers(1)
        peer._send(b"\x17\x03\x03\x00\x20" + b"forged forged forged forged forg")
        with pytest.raises((ssl.SSLError, AssertionError)):
            await peer.answers(1)
        await until(lambda: stand.server.stats.connections_closed == {CloseReason.TLS_BROKEN: 1})
        assert [one.payload for one in handler.seen] == [b"MSH|1"]


@on_both_loops
async def test_nobody_comes_back_without_a_certificate_or_without_being_known() -> None:
    handler = Immediate()
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        context = client_context(issue("back.test"))
        context.maximum_version = version
        async with serving(handler, tls=server_tls()) as stand:
            session: ssl.SSLSession | None = None
            for _ in range(2):
                peer = await stand.reach()
                tls = await peer.shake(context, session=session)
                peer.frame(MESSAGE)
                await peer.answers(1)
                session = tls.session
                assert session is None or not session.has_ticket
                if version is ssl.TLSVersion.TLSv1_3:
                    assert not tls.session_reused
    assert {one.identity.names >= {"dns:back.test"} for one in handler.seen if one.identity} == {True}
    assert len([one for one in handler.seen if one.identity]) == 4


@on_both_loops
async def test_renegotiation_is_refused_and_ends_the_connection() -> None:
    context = client_context(issue("sender.test"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert server_tls().options & ssl.OP_NO_RENEGOTIATION
    async with serving(Immediate(), tls=server_tls()) as stand:
        port = str(stand.port)
        with tempfile.TemporaryDirectory() as folder:
            leaf = issue("sender.test")
            both = Path(folder) / "sender.pem"
            leaf.private_key_and_cert_chain_pem.write_to_path(str(both))
            client = await asyncio.create_subprocess_exec(
                "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", "-cert", str(both),
                "-key", str(both), "-servername", SERVER,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            assert client.stdin is not None
            await until(lambda: stand.server.stats.handshakes)
            client.stdin.write(b"R\n")
            said, _ = await asyncio.wait_for(client.communicate(), PATIENCE_S)
        assert b"no renegotiation" in said
        assert stand.server.stats.handshakes == {"TLSv1.2": 1}


# The door


@on_both_loops
async def test_a_new_certificate_and_new_authorities_are_for_new_connections_only() -> None:
    old = client_context(issue("old.test"))
    new = client_context(issue("new.test", by="new hospitals"), trusting="ours, renewed")
    with files() as place:
        first = place.context()
        place.write(issue(SERVER, by="ours, renewed"), trusting=("new hospitals",))
        second = place.context()
    async with serving(Immediate(), brief(linger_s=BRIEF_S), tls=first) as stand:
        inside = await stand.connect(old)
        inside.frame(b"MSH|1")
        await inside.answers(1)
        stand.server.use_tls(second)
        outside = await stand.connect(new)
        outside.frame(b"MSH|2")
        assert await outside.answers(1) == [ack(b"MSH|2")]
        inside.frame(b"MSH|3")
        assert await inside.answers(1) == [ack(b"MSH|3")]
        for peer in (inside, outside):
            peer.writer.close()
        await until(lambda: not stand.server.stats.connections_open)
        await refused(stand, client_context(issue("x.test"), trusting="ours, renewed"),
                      HandshakeFailure.CERTIFICATE_UNTRUSTED)  # fmt: skip
        await refused(stand, old, HandshakeFailure.REFUSED_BY_PEER)


@on_both_loops
async def test_draining_ends_a_handshake_at_once() -> None:
    async with serving(Immediate(), brief(), tls=server_tls()) as stand:
        shaking = await stand.reach()
        await until(lambda: stand.server.stats.handshakes_open)
        assert await stand.server.drain()
        assert await shaking.rest() == b""
        assert stand.server.stats.connections_closed == {CloseReason.DRAINED: 1}


@on_both_loops
async def test_handshakes_under_way_are_bounded_and_the_oldest_gives_way_after_its_grace() -> None:
    limits: dict[str, Any] = {"handshakes_max": 2, "unproven_grace_s": 3_600.0}
    async with serving(Immediate(), brief(**limits), tls=server_tls()) as stand:
        held = [await stand.reach() for _ in range(2)]
        await until(lambda: stand.server.stats.handshakes_open == 2)
        assert await (await stand.reach()).rest() == b""
        assert stand.server.stats.connections_refused == {RefuseReason.HANDSHAKES_MAX: 1}
        assert stand.server.stats.connections_open == len(held)

    async with serving(Immediate(), brief(**(limits | {"unproven_grace_s": BRIEF_S})), tls=server_tls()) as stand:
        oldest = await stand.reach()
        await stand.reach()
        await until(lambda: stand.server.stats.handshakes_open == 2)
        start = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > start + 2 * BRIEF_S)
        peer = await stand.connect(sender_tls())
        peer.frame(MESSAGE)
        assert await peer.answers(1) == [ack(MESSAGE)]
        assert await oldest.rest() == b""
        assert stand.server.stats.connections_closed == {CloseReason.DISPLACED: 1}


# The files


def test_files_that_do_not_fit_are_refused_with_what_to_do(tmp_path: Path) -> None:
    place = server_files(tmp_path)
    other = issue(SERVER, by="ours").private_key_pem.bytes()

    def problem() -> str:
        with pytest.raises(TlsFilesError) as caught:
            server_context(place.files)
        return str(caught.value)

    key = place.key.read_bytes()
    place.key.write_bytes(other)
    assert "is not that of the certificate" in problem()
    place.key.write_bytes(b"no key")
    assert "not a certificate and its key in PEM" in problem()
    place.key.unlink()
    assert "cannot be read (No such file or directory)" in problem()
    place.key.write_bytes(key)
    place.client_ca.write_bytes(b"nothing")
    assert "holds no certificates in PEM" in problem()
    place.client_ca.write_bytes(issue("sender.test").cert_chain_pems[0].bytes())
    assert "no certificate of an authority" in problem()
    place.client_ca.write_bytes(authority().cert_pem.bytes())
    assert server_context(place.files).verify_mode is ssl.CERT_REQUIRED


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    place = server_files(tmp_path)
    key = serialization.load_pem_private_key(place.key.read_bytes(), None)
    place.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsFilesError, match="is encrypted"):
        server_context(place.files)
