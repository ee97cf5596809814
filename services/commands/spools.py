"""What listeners' spools hold, asked at their ops ports."""

import http.client
import math
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from services.followup.usecases.status import Spool
from services.runtime.metrics import SPOOL_MESSAGES, SPOOL_OLDEST_AGE

ASK_TIMEOUT_S: Final = 3.0
ANSWER_BYTES_MAX: Final = 4 * 1_048_576


def read_spool(host: str, port: int) -> Spool:
    """Ask one listener; what does not answer, or answers something else, is unknown."""
    address = f"{host}:{port}"
    try:
        found = _ask(host, port)
    except (OSError, ValueError, http.client.HTTPException):
        found = {}
    messages = found.get(SPOOL_MESSAGES.name, math.nan)
    if math.isnan(messages):
        return Spool(address=address, messages=None, oldest_age_s=None)
    return Spool(address=address, messages=int(messages), oldest_age_s=found.get(SPOOL_OLDEST_AGE.name))


def _ask(host: str, port: int) -> dict[str, float]:
    connection = http.client.HTTPConnection(host, port, timeout=ASK_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read(ANSWER_BYTES_MAX).decode("utf-8")
    finally:
        connection.close()
    wanted = {SPOOL_MESSAGES.name, SPOOL_OLDEST_AGE.name}
    families = text_string_to_metric_families(text)
    return {one.name: one.value for family in families for one in family.samples if one.name in wanted}
