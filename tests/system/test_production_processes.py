"""Each process of production by itself: what it says, what it waits for, what it refuses, how it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.followup.store.migrate import migrate
from services.runtime.database import open_database
from tests.support.kafka import Brokers
from tests.support.postgres import PostgresServer
from tests.system.production import Child, fresh_log
from tests.system.service import afterstay, until

pytestmark = pytest.mark.system

ALIVE_WITHIN_S: Final = 60.0
PROCESSES: Final = ("ingest", "followup", "scheduler", "web")


@contextmanager
def process(folder: Path, name: str, *words: object) -> Iterator[Child]:
    child = Child(folder, name, [name, *words])
    try:
        yield child
    finally:
        child.close()


def words_of(name: str, folder: Path, kafka: Brokers, database: str) -> list[object]:
    """Return the flags that a process cannot do without."""
    log, tables = ["--kafka", kafka.bootstrap], ["--database", database]
    words: dict[str, list[object]] = {
        "ingest": [*log, "--spool", folder / "spool", "--mllp-port", 0],
        "followup": [*log, *tables],
        "scheduler": [*tables],
        "web": [*tables, "--http-port", 0],
    }
    return words[name]


@pytest.mark.parametrize("name", PROCESSES)
def test_it_says_that_it_serves_answers_those_who_run_it_and_ends_in_order(
    name: str, tmp_path: Path, kafka: Brokers, postgres_url: str
) -> None:
    fresh_log(kafka.bootstrap)
    with process(tmp_path, name, *words_of(name, tmp_path, kafka, postgres_url)) as child:
        child.start()
        assert child.ready["ready"] is True
        assert child.get("/livez").json() == {"alive": True}
        assert child.get("/readyz").json() == {"ready": True, "reasons": [], "notes": []}
        scraped = text_string_to_metric_families(child.get("/metrics").text)
        (build,) = [one for family in scraped for one in family.samples if one.name == "afterstay_build_info"]
        assert build.labels["process"] == name
        child.terminate()
        assert child.wait() == 0
        # That the group has no coordinator yet is aiokafka's to say, once, and normal on a new broker.
        assert [line for line in child.complaints() if not line["logger"].startswith("aiokafka.")] == []
    assert len((tmp_path / f"{name}.out").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize("name", ["followup", "scheduler", "web"])
def test_a_database_without_this_releases_schema_is_refused(
    name: str, tmp_path: Path, kafka: Brokers, empty_postgres_url: str
) -> None:
    said = afterstay(name, *words_of(name, tmp_path, kafka, empty_postgres_url), "--ops-port", 0)
    assert (said.code, said.out) == (1, "")
    assert "[database-too-old]" in said.err
    assert "afterstay migrate" in said.err


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with PostgresServer() as server:
        database = server.create("away")
        engine = open_database(database)
        migrate(engine)
        engine.dispose()
        server.stop()
        with process(tmp_path, "web", "--database", database, "--http-port", 0) as child:
            child.launch()
            until(lambda: [line for line in child.log() if line["event"] == "database_awaited"], ALIVE_WITHIN_S)
            assert child.runs
            server.start()
            child.await_ready()
            assert child.get("/readyz").status_code == 200
            server.stop("immediate")
            until(lambda: child.get("/readyz").status_code == 503, ALIVE_WITHIN_S)
            assert child.get("/livez").status_code == 200
            server.start()
            until(lambda: child.get("/readyz").status_code == 200, ALIVE_WITHIN_S)


def test_a_spool_has_one_listener(tmp_path: Path, kafka: Brokers) -> None:
    words = words_of("ingest", tmp_path, kafka, "")
    with process(tmp_path, "ingest", *words) as child:
        child.start()
        said = afterstay("ingest", *words, "--ops-port", 0)
        assert said.code == 1
        assert "[data-folder-in-use]" in said.err
        assert f"process {child.pid}" in said.err


def test_a_port_that_is_taken_is_refused_by_its_flag(tmp_path: Path, kafka: Brokers, postgres_url: str) -> None:
    with process(tmp_path, "web", *words_of("web", tmp_path, kafka, postgres_url)) as child:
        child.start()
        port = httpx.URL(child.ready["http"]).port
        said = afterstay("web", "--database", postgres_url, "--http-port", port, "--ops-port", 0)
    assert said.code == 1
    assert "--http-port" in said.err


def test_everything_that_is_wrong_is_said_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "feeds.yaml").write_text("feeds: [{name: x}]\n", encoding="utf-8")
    said = afterstay("ingest", "--mllp-port", "many", "--feeds", tmp_path / "feeds.yaml", "--tls-cert", "none.pem")
    assert said.code == 2
    for part in ("--kafka is missing", "--spool is missing", "--mllp-port: 'many' is not a port"):
        assert part in said.err
