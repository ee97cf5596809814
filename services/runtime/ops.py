"""What a process tells those who run it: `/livez`, `/readyz` and `/metrics`, on a port of its own.

Promises: nothing here changes anything or shows a patient; `/livez` depends on nothing but the event loop, so that an
outage elsewhere restarts nobody; `/readyz` says in codes what keeps the process from its work, and lag is never among
them; an answer takes no longer than `READY_WAIT_S`. It listens on loopback unless told otherwise.

Source: product.md §2.5; a plain ASGI application, since three answers need no framework.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from services.runtime.errors import Permanent
from services.runtime.http_server import BACKLOG, HttpServer
from services.runtime.metrics import CONTENT_TYPE, Metrics

READY_WAIT_S: Final = 5.0
"""Longer than a probe waits: by then the answer is that it is not ready."""
TOO_SLOW: Final = "ready-check-slow"

Ready = Callable[[], Awaitable[Sequence[str]]]
"""Returns codes of what keeps the process from its work; none: it is ready."""

_JSON: Final = "application/json"


class OpsApp:
    """The ASGI application; `notes` are standing warnings that do not make the process unready."""

    def __init__(self, metrics: Metrics, ready: Ready, notes: Callable[[], Sequence[str]] = tuple) -> None:
        self._metrics = metrics
        self._ready = ready
        self._notes = notes

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request; a body that comes with it is not read."""
        assert scope["type"] == "http", "the server speaks HTTP only"
        if scope["method"] not in {"GET", "HEAD"}:
            status, kind, body = 405, _JSON, _json({"error": "only GET is answered here"})
        else:
            status, kind, body = await self._answer(scope["path"])
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, path: str) -> tuple[int, str, bytes]:
        match path:
            case "/livez":
                return 200, _JSON, _json({"alive": True})
            case "/readyz":
                reasons = await self._reasons()
                notes = list(self._notes())
                return 503 if reasons else 200, _JSON, _json({"ready": not reasons, "reasons": reasons, "notes": notes})
            case "/metrics":
                loop = asyncio.get_running_loop()
                return 200, CONTENT_TYPE, await loop.run_in_executor(None, self._metrics.render)
            case _:
                return 404, _JSON, _json({"error": "there are /livez, /readyz and /metrics"})

    async def _reasons(self) -> list[str]:
        try:
            return list(await asyncio.wait_for(self._ready(), READY_WAIT_S))
        except TimeoutError:
            return [TOO_SLOW]


def bind_tcp(host: str, port: int, flag: str) -> socket.socket:
    """Return a socket that listens; port 0 takes any free one. `flag` is named to whoever has to choose another.

    Raises:
        Permanent: `port-taken`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise Permanent(
            "port-taken", f"the port {port} on {host} cannot be bound ({error.strerror}): choose another with {flag}"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Return host and port of a socket as people write them."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ops_server(
    listening: socket.socket, metrics: Metrics, ready: Ready, notes: Callable[[], Sequence[str]] = tuple
) -> HttpServer:
    """Return the server of a process's ops port."""
    return HttpServer(OpsApp(metrics, ready, notes), listening)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
