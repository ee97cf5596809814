"""What a listener's door is told: everything that is wrong at once, and nothing in the clear beyond this machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.ingest.door import PEER_MESSAGES_PER_S, DoorSettings
from services.ingest.mllp.limits import ServerLimits
from services.runtime.errors import Permanent
from tests.support.certificates import server_files


def tls(folder: Path, **others: object) -> DoorSettings:
    files = server_files(folder)
    settings = DoorSettings(host="0.0.0.0", tls_cert=files.cert, tls_key=files.key, tls_client_ca=files.client_ca)
    return replace(settings, **others)  # type: ignore[arg-type]  # a test's own words


def test_the_usual_settings_are_right(tmp_path: Path) -> None:
    assert DoorSettings().problems() == []
    assert DoorSettings(host="localhost").problems() == []
    assert DoorSettings(host="::1").problems() == []
    assert tls(tmp_path).problems() == []
    assert tls(tmp_path, host="127.0.0.1", tls_client_ca=None).problems() == []
    assert tls(tmp_path, tls_client_ca=None, tls_any_client=True).problems() == []
    assert DoorSettings(host="0.0.0.0", plaintext_beyond_loopback=True).problems() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_this_machine_there_is_tls_and_certificates_on_both_sides(host: str, tmp_path: Path) -> None:
    (problem,) = DoorSettings(host=host).problems()
    assert "--tls-cert, --tls-key and --tls-client-ca" in problem
    assert "--plaintext-beyond-loopback" in problem
    (problem,) = tls(tmp_path, tls_client_ca=None, host=host).problems()
    assert "--tls-any-client" in problem


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tls_key": None}, "--tls-cert is given without --tls-key"),
        ({"tls_cert": None}, "--tls-key is given without --tls-cert"),
        ({"tls_cert": None, "tls_key": None, "host": "127.0.0.1"}, "--tls-client-ca is given without"),
        ({"tls_any_client": True}, "--tls-client-ca and --tls-any-client exclude each other"),
        ({"plaintext_beyond_loopback": True}, "--plaintext-beyond-loopback and --tls-cert exclude each other"),
        ({"tls_cert": Path("nowhere.pem")}, "nowhere.pem cannot be read"),
        ({"host": "no.such.host.invalid"}, "'no.such.host.invalid' is no address and no name"),
        ({"host": "a" * 300}, "is no address and no name"),
        ({"allow_from": ("192.0.2.1/24",)}, "--allow-from '192.0.2.1/24' is no address and no network"),
        ({"allow_from": ("hospital",)}, "--allow-from 'hospital'"),
        ({"messages_per_peer_s": -1.0}, "--messages-per-peer -1 has to be more than 0"),
        ({"limits": ServerLimits(idle_timeout_s=0.0)}, "--idle-timeout 0 has to be more than 0"),
        ({"limits": ServerLimits(connections_max=8)}, "--connections-per-peer 64 is more than --connections-max 8"),
        ({"limits": ServerLimits(frame_bytes_max=2**24)}, "--frame-bytes-max 16777216"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(wrong: dict[str, object], words: str, tmp_path: Path) -> None:
    (problem,) = tls(tmp_path, **wrong).problems()
    assert words in problem


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    settings = tls(
        tmp_path, tls_key=None, tls_any_client=True, allow_from=("x", "192.0.2.0/24"), limits=ServerLimits(linger_s=-1)
    )
    assert len(settings.problems()) == 4
    with pytest.raises(Permanent) as caught:
        settings.check()
    assert caught.value.code == "listener-settings-invalid"
    assert str(caught.value).splitlines() == settings.problems()


def test_the_rate_of_an_address_is_limited_beyond_this_machine_unless_told_otherwise(tmp_path: Path) -> None:
    assert DoorSettings().server_limits().messages_per_peer_s is None
    assert DoorSettings(messages_per_peer_s=5.0).server_limits().messages_per_peer_s == 5.0
    assert tls(tmp_path).server_limits().messages_per_peer_s == PEER_MESSAGES_PER_S
    assert tls(tmp_path, messages_per_peer_s=0.0).server_limits().messages_per_peer_s is None
    assert tls(tmp_path, limits=ServerLimits(idle_timeout_s=7.0)).server_limits().idle_timeout_s == 7.0
