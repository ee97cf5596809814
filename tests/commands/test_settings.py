"""Settings: the flag before the environment before the file, and everything wrong at once."""

from pathlib import Path

import pytest

from services.commands.arguments import Arguments
from services.commands.grammar import build_parser
from services.commands.parser import verbs_of
from tests.commands.parsers import verbs

INGEST = ("ingest", "--kafka", "broker:9092", "--spool", "spool")


def parsed(*words: str, environ: dict[str, str] | None = None) -> Arguments:
    found: Arguments = build_parser(environ or {}).parse_args(words, namespace=Arguments())
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        parsed(*words, environ=environ)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "afterstay.toml"
    file.write_text(
        'kafka = "from-top:9092"\nlog-level = "warning"\nops_port = 9301\n[ingest]\nops-port = 9302\nspool = "here"\n'
        "[followup]\nops-port = 9303\n",
        encoding="utf-8",
    )
    return file


def test_a_flag_goes_before_the_environment_and_that_before_the_file(config: Path) -> None:
    environ = {"AFTERSTAY_CONFIG": str(config), "AFTERSTAY_LOG_LEVEL": "error", "AFTERSTAY_OPS_PORT": "9304"}
    found = parsed("ingest", "--ops-port", "9305", environ=environ)
    assert (found.kafka, found.log_level, found.ops_port, found.spool) == ("from-top:9092", "error", 9305, Path("here"))
    assert parsed("ingest", environ=environ).ops_port == 9304


def test_the_table_of_the_verb_goes_before_the_top_of_the_file(config: Path) -> None:
    assert parsed("ingest", "--config", str(config)).ops_port == 9302
    followup = parsed("followup", "--config", str(config), "--database", "postgresql://a@b/c")
    assert (followup.ops_port, followup.kafka) == (9303, "from-top:9092")
    assert parsed("web", "--config", str(config), "--database", "postgresql://a@b/c").ops_port == 9301


def test_nothing_said_leaves_the_defaults() -> None:
    found = parsed(*INGEST)
    assert (found.mllp_port, found.ops_host, found.ops_port, found.log_level) == (2575, "127.0.0.1", 9101, "info")
    assert found.kafka_security_protocol == "PLAINTEXT"
    assert (found.feeds, found.config) == (None, None)


def test_bootstrap_server_is_another_word_for_kafka() -> None:
    assert parsed("ingest", "--bootstrap-server", "a:1,b:2", "--spool", "s").kafka == "a:1,b:2"


def test_everything_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('colour = "blue"\n[ingest]\nmllp-port = "many"\nhttp-port = 1\n', encoding="utf-8")
    words = ("ingest", "--config", str(file), "--ops-port", "99999", "--kafka-ca", str(tmp_path / "none.pem"))
    lines = refused(capsys, *words, environ={"AFTERSTAY_SPOOL_MAX": "lots"})
    for part in (
        "'colour' is no setting",
        "'http-port' in [ingest] is no setting of it",
        "'mllp-port' in the --config file: 'many' is not a port",
        "--ops-port: '99999' is not a port",
        "AFTERSTAY_SPOOL_MAX: 'lots' is not a number of megabytes",
        "--kafka is missing",
        "--spool is missing",
        "none.pem cannot be read",
    ):
        assert any(part in line for line in lines), (part, lines)
    assert all(line.startswith("afterstay: ") and "see `afterstay ingest --help`" in line for line in lines)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"kafka = ", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"kafka = [1]", "it must be a text or a number"),
        (b"kafka = true", "it must be a text or a number"),
        (b"log-level = 'loud'", "'loud' is none of debug, info, warning, error"),
        (b"kafka = 'x:1'\n" + b"#" * 1_100_000, "is larger than"),
    ],
)
def test_a_file_that_is_wrong_is_named(
    content: bytes, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "afterstay.toml"
    file.write_bytes(content)
    lines = refused(capsys, *INGEST[:1], "--spool", "s", "--config", str(file))
    assert any(told in line for line in lines), lines


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = refused(capsys, *INGEST, "--config", str(tmp_path / "none.toml"))
    assert len(lines) == 1
    assert "none.toml cannot be read" in lines[0]


def test_where_the_data_lies_is_a_folder_or_kafka_and_a_database(capsys: pytest.CaptureFixture[str]) -> None:
    database = ("--database", "postgresql://a@b/c")
    assert parsed("status", "--data", "d").data == Path("d")
    both = parsed("status", "--kafka", "k:1", *database)
    assert (both.data, both.kafka, both.database) == (None, "k:1", "postgresql://a@b/c")
    assert refused(capsys, "status")[0].startswith("afterstay: give --data, or --kafka and --database")
    assert "give --data, or --kafka and --database" in refused(capsys, "status", "--kafka", "k:1")[0]
    assert "contradict" in refused(capsys, "tasks", "ls", "--data", "d", *database)[0]


def test_what_stands_nearer_says_where_the_data_lies() -> None:
    environ = {"AFTERSTAY_DATA": "d", "AFTERSTAY_KAFKA": "k:1"}
    assert parsed("tasks", "ls", environ=environ).data == Path("d")
    named = parsed("status", "--database", "postgresql://a@b/c", environ=environ)
    assert (named.data, named.kafka) == (None, "k:1")


def test_an_address_that_may_hold_a_password_is_never_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = refused(capsys, "migrate", "--database", "postgres//me:hush@host/db")
    assert "hush" not in "".join(lines)
    assert "no database address" in lines[0]


def test_several_values_come_by_flag_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "afterstay.toml"
    file.write_text('ops = ["a:1", "b:2"]\n', encoding="utf-8")
    words = ("status", "--data", "d")
    both = [("a", 1), ("b", 2)]
    assert parsed(*words, "--ops", "a:1", "b:2").ops == both
    assert parsed(*words, environ={"AFTERSTAY_OPS": "a:1,b:2"}).ops == both
    assert parsed(*words, "--config", str(file)).ops == both
    assert list(parsed(*words).ops) == []


@pytest.mark.parametrize(("word", "is_so"), [("true", True), ("1", True), ("no", False), ("false", False)])
def test_a_switch_may_come_from_the_environment(word: str, is_so: bool) -> None:
    environ = {"AFTERSTAY_SINGLE_BROKER": word}
    assert parsed("topics", "check", "--kafka", "k:1", environ=environ).single_broker is is_so


def test_no_two_settings_of_a_verb_share_a_name() -> None:
    for parser in verbs_of(build_parser({})):
        assert parser.settings is not None
        names = [setting.variable for setting in parser.settings.known]
        assert len(names) == len(set(names)), parser.prog
    assert {"scheduler", "web", "migrate"} <= set(verbs())
