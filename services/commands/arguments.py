"""What was written on the command line, by name and type.

Every verb finds its own flags here; which verb has which is declared in `grammar`.
"""

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from services.followup.domain.attempts import Mode, Outcome, Reached

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
PanelMode = Literal["merge", "replace"]


Start = Literal["beginning"] | datetime | tuple[int, int]
"""Where a replay begins: at all there is, a moment, or partition and offset."""


class Arguments(argparse.Namespace):
    """The parsed words of one call; a verb reads only the names that its grammar sets."""

    handler: str
    """Module and function of the verb, like `tasks:claim`."""
    debug: bool
    json: bool
    config: Path | None
    actor: str
    # where the data lies: a folder, or Kafka and a database
    data: Path | None
    kafka: str | None
    kafka_security_protocol: SecurityProtocol
    kafka_sasl_mechanism: SaslMechanism
    kafka_username: str | None
    kafka_password_file: Path | None
    kafka_ca: Path | None
    kafka_cert: Path | None
    kafka_key: Path | None
    database: str | None
    database_password_file: Path | None
    # processes
    ops_host: str
    ops_port: int
    mllp_host: str
    tls_cert: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    tls_any_client: bool
    plaintext_beyond_loopback: bool
    allow_from: Sequence[str]
    connections_max: int
    connections_per_peer: int
    messages_per_peer: float | None
    frame_bytes_max: int
    frame_timeout: float
    idle_timeout: float
    spool: Path
    spool_max: int
    canary_to: tuple[str, int] | None
    canary_ca: Path | None
    canary_cert: Path | None
    canary_key: Path | None
    single_broker: bool
    keep_unlinked: int
    # status, lag
    ops: Sequence[tuple[str, int]]
    # lag
    group: str
    warn: float
    crit: float
    window: float | None
    watch: bool
    # run, doctor, dlq replay
    feeds: Path | None
    mllp_port: int
    http_port: int
    log_level: str
    # panel import
    file: Path
    panel_mode: PanelMode
    drop_percent_max: float
    dry_run: bool
    # tasks, review, dlq
    show_phi: bool
    limit: int
    cursor: str | None
    which: bool | None
    """Which tasks to list: open, closed, or (`None`) all."""
    task_id: str
    version: int | None
    mode: Mode
    reached: Reached | None
    outcome: Outcome
    note: str | None
    at: datetime | None
    letter: str
    letters: list[str]
    resolved: bool
    reason: str
    # replay
    since: list[Start]
    until: datetime | None
    partition: int | None
    awaiting: bool
    # trace
    control_id: str
    feed: str | None
    # protocols due
    protocol: str
    zone: str
    closures: Path | None
    times: list[str]
    # send
    files: list[str]
    to: tuple[str, int]
    verbose: bool
    timeout: float
    tls: bool
    tls_ca: Path | None
    tls_name: str | None
    # simulate, demo
    seed: int
    patients: int | None
    out: Path | None
    destination: tuple[str, int] | None
    rate: float | None
    folder: Path | None
    once: bool
