"""`deploy/compose.yaml` without an engine: its form, references and hardening, and the words it tells Afterstay."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from services.commands.flags import OPS_PORTS
from tests.deploy.told import Told, process_verbs

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OURS: Final = [name for name, one in SERVICES.items() if one["image"].startswith("afterstay:")]
PROBED: Final = [name for name in OURS if SERVICES[name]["command"][0] in process_verbs()]
SERVICE_KEYS: Final = {
    "build", "cap_drop", "command", "configs", "depends_on", "deploy", "environment", "healthcheck", "image", "logging",
    "mem_limit", "network_mode", "networks", "pids_limit", "ports", "read_only", "restart", "secrets", "security_opt",
    "shm_size", "stop_grace_period", "tmpfs", "user", "volumes",
}  # fmt: skip
"""Of the Compose Specification, those that are used here; a mistyped key is none of them."""
HEALTHCHECK_KEYS: Final = {"test", "interval", "timeout", "retries", "start_period"}
CONDITIONS: Final = {"service_healthy", "service_completed_successfully"}


def test_the_file_has_only_keys_of_the_specification() -> None:
    known = {"name", "services", "networks", "volumes", "configs", "secrets"}
    assert {key for key in COMPOSE if not key.startswith("x-")} == known
    for name, service in SERVICES.items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("healthcheck", {})) <= HEALTHCHECK_KEYS, name


def test_it_runs_every_process_and_what_prepares_and_carries_them() -> None:
    assert [name for name in SERVICES if name.startswith("kafka-")] == ["kafka-1", "kafka-2", "kafka-3"]
    assert {*PROBED, "migrate", "topics"} == set(OURS)
    assert {SERVICES[name]["command"][0] for name in PROBED} == process_verbs()
    assert SERVICES["followup"]["deploy"] == {"replicas": 2}


@pytest.mark.parametrize("name", OURS)
def test_afterstay_takes_the_words_and_the_environment(name: str, tmp_path: Path) -> None:
    told = Told(SERVICES[name]["command"], _environment(name), tmp_path)
    assert told.verb == " ".join(SERVICES[name]["command"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_reference_leads_somewhere(name: str) -> None:
    service = SERVICES[name]
    for kind in ("networks", "secrets", "configs"):
        used = {one["source"] if isinstance(one, dict) else one for one in service.get(kind, [])}
        assert used <= set(COMPOSE[kind]), kind
    assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] in CONDITIONS
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert SERVICES[other]["restart"] == "on-failure", "a service that ends well is not started again"
    mentioned = {str(value).removeprefix("/run/secrets/") for value in service.get("environment", {}).values()}
    assert {one for one in mentioned if one in COMPOSE["secrets"]} == set(service.get("secrets", [])), (
        "mounts what it reads"
    )


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_held_short(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert any(one.startswith("/tmp:") for one in service["tmpfs"])
    assert service["image"].partition(":")[2] not in {"", "latest"}, "a version, so that a restart is no upgrade"
    assert service["pids_limit"]


@pytest.mark.parametrize("name", PROBED)
def test_every_process_is_probed_at_its_own_ops_port(name: str) -> None:
    check = SERVICES[name]["healthcheck"]["test"]
    assert check[0] == "CMD", "no shell"
    assert f"http://127.0.0.1:{OPS_PORTS[name]}/readyz" in check[-1]
    compile(check[-1], name, "exec")


def test_only_the_listener_is_reached_from_other_machines_and_speaks_tls(tmp_path: Path) -> None:
    reached = {
        name: port for name, one in SERVICES.items() for port in one.get("ports", []) if "127.0.0.1:" not in port
    }
    assert reached == {"ingest": "2575:2575"}
    environ = SERVICES["ingest"]["environment"]
    assert {"AFTERSTAY_TLS_CERT", "AFTERSTAY_TLS_KEY", "AFTERSTAY_TLS_CLIENT_CA"} <= set(environ)
    assert Told(SERVICES["ingest"]["command"], environ, tmp_path).arguments.mllp_port == 2575
    assert SERVICES["web"]["network_mode"] == "host", "it listens on loopback: of the host, or nobody would reach it"


def test_passwords_and_keys_come_from_files_only() -> None:
    for name in SERVICES:
        for key, value in _environment(name).items():
            if "PASSWORD" in key or "KEY" in key:
                assert value.startswith("/run/secrets/"), (name, key)
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def _environment(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}
