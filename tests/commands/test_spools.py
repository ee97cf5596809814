"""`status --ops`: what listeners' spools hold is pending, and what is not known is no success."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from services.runtime.metrics import SPOOL_MESSAGES, SPOOL_OLDEST_AGE, Metrics
from services.runtime.ops import address_of, bind_tcp, ops_server
from tests.commands.conftest import Afterstay
from tests.support.data_folders import DataFolder


@contextmanager
def listener_with(messages: int | None) -> Iterator[str]:
    """Serve the ops port of a listener whose spool holds this much; `None`: of a process that has no spool."""
    metrics = Metrics()
    if messages is not None:
        metrics.provide_value(SPOOL_MESSAGES, lambda: messages)
        metrics.provide_value(SPOOL_OLDEST_AGE, lambda: 7.5)

    async def ready() -> Sequence[str]:
        return ()

    bound = bind_tcp("127.0.0.1", 0, "--ops-port")
    server = ops_server(bound, metrics, ready)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        yield address_of(bound)
    finally:
        server.stop()
        thread.join()


def test_what_a_spool_holds_is_pending(afterstay: Afterstay, folder: DataFolder) -> None:
    with listener_with(3) as first, listener_with(4) as second:
        said = afterstay("status", "--data", folder.path, "--ops", first, second, "--json")
    assert said.code == 0, said.err
    assert (said.json["received"], said.json["pending"]) == (7, 7)
    assert said.json["spools"] == [
        {"address": first, "messages": 3, "oldest_age_s": 7.5},
        {"address": second, "messages": 4, "oldest_age_s": 7.5},
    ]


def test_a_listener_that_does_not_say_is_unknown_and_no_success(afterstay: Afterstay, folder: DataFolder) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = address_of(closed)
    with listener_with(3) as one, listener_with(None) as without:
        said = afterstay("status", "--data", folder.path, "--ops", one, nobody, without)
    assert said.code == 3
    assert f"{nobody}  unknown" in said.out
    assert said.err.count("[spool-unknown]") == 2
