"""The door's flags say what the listener does when nobody says anything, and reach it when somebody does."""

from pathlib import Path

from services.commands import door_flags
from services.commands.arguments import Arguments
from services.commands.grammar import build_parser
from services.commands.ingest import door_of
from services.ingest.door import PEER_MESSAGES_PER_S, DoorSettings
from services.ingest.mllp.limits import ServerLimits


def door(*words: str) -> DoorSettings:
    arguments = build_parser({}).parse_args(["ingest", "--kafka", "k:1", "--spool", "s", *words], namespace=Arguments())
    return door_of(arguments)


def test_without_flags_the_door_is_as_it_is_built() -> None:
    assert door() == DoorSettings(port=2575)
    assert door_flags.PEER_MESSAGES_PER_S == PEER_MESSAGES_PER_S


def test_no_limit_of_messages_is_one_that_can_be_asked_for() -> None:
    assert door("--messages-per-peer", "0").messages_per_peer_s == 0


def test_every_flag_reaches_the_door() -> None:
    found = door(
        "--mllp-host", "::", "--mllp-port", "0", "--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a",
        "--tls-any-client", "--plaintext-beyond-loopback", "--allow-from", "10.0.0.0/8", "192.0.2.7",
        "--connections-max", "9", "--connections-per-peer", "8", "--messages-per-peer", "7", "--frame-bytes-max", "600",
        "--frame-timeout", "5", "--idle-timeout", "4",
    )  # fmt: skip
    assert found == DoorSettings(
        host="::",
        port=0,
        tls_cert=Path("c"),
        tls_key=Path("k"),
        tls_client_ca=Path("a"),
        tls_any_client=True,
        plaintext_beyond_loopback=True,
        allow_from=("10.0.0.0/8", "192.0.2.7"),
        messages_per_peer_s=7.0,
        limits=ServerLimits(
            connections_max=9,
            connections_per_peer_max=8,
            frame_bytes_max=600,
            frame_timeout_s=5.0,
            idle_timeout_s=4.0,
        ),
    )
