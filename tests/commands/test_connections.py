"""Kafka and the database as settings name them: what does not fit together is refused, and secrets stay secret."""

from pathlib import Path

import pytest

from services.commands.arguments import Arguments
from services.commands.connections import database_of, kafka_of, read_secret
from services.commands.grammar import build_parser
from services.runtime.errors import Permanent


def arguments(*words: str) -> Arguments:
    found: Arguments = build_parser({}).parse_args(["topics", "check", "--kafka", "k:1", *words], namespace=Arguments())
    return found


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("hush-hush\n", encoding="utf-8")
    return file


def test_a_login_comes_with_its_password_from_a_file(secret: Path) -> None:
    connection = kafka_of(
        arguments(
            "--kafka-security-protocol", "SASL_SSL", "--kafka-username", "me", "--kafka-password-file", str(secret)
        )
    )  # fmt: skip
    assert (connection.username, connection.password, connection.sasl_mechanism) == ("me", "hush-hush", "SCRAM-SHA-512")
    assert "hush" not in repr(connection)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--kafka-security-protocol", "SASL_SSL"), "user name and a password"),
        (("--kafka-username", "me"), "PLAINTEXT has no user"),
    ],
)
def test_what_does_not_fit_together_is_refused(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(Permanent) as refused:
        kafka_of(arguments(*words))
    assert refused.value.code == "settings-invalid"
    assert told in refused.value.message


def test_the_password_of_the_database_comes_from_a_file(secret: Path) -> None:
    words = ["migrate", "--database", "postgresql://me@db:5432/after", "--database-password-file", str(secret)]
    found: Arguments = build_parser({}).parse_args(words, namespace=Arguments())
    assert database_of(found) == "postgresql://me:hush-hush@db:5432/after"


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe", b"x" * 5_000])
def test_a_file_that_holds_no_secret_is_refused_without_its_content(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(Permanent) as refused:
        read_secret(file)
    assert str(file) in refused.value.message
    assert "one" not in refused.value.message.replace("one line", "")
