import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.commands.send import split_messages
from services.ingest.mllp.frame import encode_frame
from tests.commands.conftest import Afterstay
from tests.commands.listeners import answered, listening
from tests.support.adt import adt

ONE = adt("A01", sent="20261117090000", control_id="M1")
TWO = adt("A03", sent="20261120143000", control_id="M2")
WITH_LF = ONE.replace(b"\r", b"\n")


def files_of(tmp_path: Path, *contents: bytes) -> list[Path]:
    files = [tmp_path / f"{number}.hl7" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (ONE, [ONE]),
        (WITH_LF, [WITH_LF]),
        (b"", []),
        (b"\r\n \n", []),
        (b"not hl7 at all", [b"not hl7 at all"]),
        (ONE + TWO, [ONE, TWO]),
        (ONE + b"\r\r" + TWO + b"\r", [ONE, TWO]),
        (WITH_LF + b"\n" + TWO.replace(b"\r", b"\r\n"), [WITH_LF, TWO.replace(b"\r", b"\r\n")]),
        (ONE[:-1] + b"\n" + TWO[:-1], [ONE[:-1] + b"\n", TWO[:-1]]),
        (b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + ONE + TWO + b"BTS|2\rFTS|1\r", [ONE, TWO]),
        (b"FHS|^~\\&|A\r" + ONE, [b"FHS|^~\\&|A\r" + ONE]),
        (encode_frame(ONE) + encode_frame(TWO), [ONE, TWO]),
        (b"\r\n" + encode_frame(ONE), [ONE]),
        (b"\xef\xbb\xbf" + ONE, [b"\xef\xbb\xbf" + ONE]),
        (b"MSHX is a word\r" + ONE, [b"MSHX is a word\r" + ONE]),
        (ONE + b"NTE|1||MSH|in a note\r", [ONE + b"NTE|1||MSH|in a note\r"]),
    ],
)
def test_a_file_is_one_message_or_several(content: bytes, messages: list[bytes]) -> None:
    assert split_messages(content) == messages


def test_each_message_goes_as_it_is_and_each_answer_is_printed(afterstay: Afterstay, tmp_path: Path) -> None:
    files = files_of(tmp_path, WITH_LF, TWO)

    with listening(answered("AA")) as listener:
        said = afterstay("send", *files, "--to", listener.address)

    assert (said.code, said.err) == (0, "")
    assert listener.got == [WITH_LF, TWO]
    assert said.out.splitlines() == [f"AA  M1  {files[0]}:1", f"AA  M2  {files[1]}:1"]


def test_json_says_which_answer_is_for_which_message(afterstay: Afterstay, tmp_path: Path) -> None:
    (file,) = files_of(tmp_path, ONE + TWO)

    with listening(answered("AA")) as listener:
        said = afterstay("send", file, "--to", listener.address, "--json", "-v")

    assert said.code == 0
    assert [(one["number"], one["control_id"], one["answers"], one["code"]) for one in said.json] == [
        (1, "M1", "M1", "AA"),
        (2, "M2", "M2", "AA"),
    ]
    assert said.json[0]["raw"].startswith("MSH|")


def test_an_answer_other_than_aa_fails_and_says_what_the_receiver_said(afterstay: Afterstay, tmp_path: Path) -> None:
    (file,) = files_of(tmp_path, ONE)

    with listening(answered("AE", "no\x1b[31m such patient")) as listener:
        said = afterstay("send", file, "--to", listener.address, "-v")

    assert said.code == 1
    assert "AE  M1" in said.out
    assert "such patient" in said.out
    assert "\x1b" not in said.out


def test_an_answer_to_another_message_is_no_acknowledgement(afterstay: Afterstay, tmp_path: Path) -> None:
    (file,) = files_of(tmp_path, ONE)

    with listening(lambda _payload: answered("AA")(TWO)) as listener:
        said = afterstay("send", file, "--to", listener.address, "--json")

    assert said.code == 1
    assert said.json[0]["matches"] is False


def test_a_listener_that_hangs_up_leaves_the_rest_unanswered(afterstay: Afterstay, tmp_path: Path) -> None:
    files = files_of(tmp_path, ONE, TWO)

    with listening(lambda payload: answered("AA")(payload) if b"|M1|" in payload else None) as listener:
        said = afterstay("send", *files, "--to", listener.address, "--json")

    assert said.code == 3
    assert [one["code"] for one in said.json] == ["AA", None]
    assert "1 messages have no answer" in said.err
    assert "[not-answered]" in said.err


def test_nobody_listening_is_temporary(afterstay: Afterstay, tmp_path: Path) -> None:
    (file,) = files_of(tmp_path, ONE)
    with listening(answered("AA")) as listener:
        address = listener.address  # free again after the block

    said = afterstay("send", file, "--to", address)

    assert said.code == 3
    assert address in said.err


def test_standard_input_is_a_file_too(afterstay: Afterstay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(ONE)))

    with listening(answered("AA")) as listener:
        said = afterstay("send", "-", "--to", listener.address)

    assert said.out == "AA  M1  -:1\n"


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "file-unreadable"), (b"\r\n", "file-empty"), (ONE + b"OBX|\x1c\rMORE", "message-unframeable")],
)
def test_a_file_that_cannot_be_sent_is_refused_before_anything_is(
    afterstay: Afterstay, tmp_path: Path, content: bytes | None, code: str
) -> None:
    file = tmp_path / "bad.hl7"
    if content is not None:
        file.write_bytes(content)

    said = afterstay("send", file, "--to", "127.0.0.1:9")

    assert said.code == 1
    assert f"[{code}]" in said.err
    assert str(file) in said.err


@pytest.mark.parametrize("to", ["localhost", ":80", "host:0", "host:70000", "host:x"])
def test_an_address_that_is_none_is_wrong_usage(afterstay: Afterstay, to: str) -> None:
    assert afterstay("send", "x.hl7", "--to", to).code == 2
