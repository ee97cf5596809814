"""The first thing every request meets: what the whole interface owes, whatever the route.

Promises:
- Only loopback names are answered, so that a page elsewhere cannot reach this service under a name of its own
  (DNS rebinding); nothing is changed by another site's page (Sec-Fetch-Site, else Origin).
- A body is read whole before anything else, within a limit of bytes and of time.
- Every answer, also a failure's, carries the security headers; nothing of a failure is shown but a code (B42).
- One log line a request: method, route template, status, time. Never a path with ids, a query or a body.

Sources: OWASP ASVS 3.4, 3.5 and 14.2; Fetch metadata (W3C), CSP Level 3; house style 32.
"""

import asyncio
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Final

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.clock import Clock
from services.runtime.log import get_logger

BODY_BYTES_MAX: Final = 64 * 1024  # the largest note in four-byte characters, percent-encoded, is 24 KB
REQUESTS_MAX: Final = 200  # under way at once; more would only wait for the same few threads
BODY_WAIT_S: Final = 10.0  # as long as a sender's header may take (faults.md §3)
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGES: Final = frozenset({"same-origin", "none"})
_log = get_logger(__name__)

AnswerStatus = Callable[[Request, int], Response]
"""Makes the answer of a refusal that its status says all about."""


class Guard:
    """ASGI middleware around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        answer: AnswerStatus,
        clock: Clock,
        names: Collection[str] = LOOPBACK_NAMES,
        requests_max: int = REQUESTS_MAX,
        body_wait_s: float = BODY_WAIT_S,
    ) -> None:
        self._app = app
        self._answer = answer
        self._clock = clock
        self._names = frozenset(names)
        self._requests_max = requests_max
        self._body_wait_s = body_wait_s
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(send)
        began = self._clock.monotonic()
        self._under_way += 1
        try:
            await self._serve(scope, receive, exchange)
        except Exception:  # noqa: BLE001 - the request loop: one of the four shells that answer for every defect
            _log.error("request_failed", method=scope["method"], route=_route(scope), exc_info=True)
            if exchange.status is None:
                await self._refuse(scope, exchange, HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self._under_way -= 1
        duration_ms = round((self._clock.monotonic() - began) * 1000, 1)
        keys = {"method": scope["method"], "route": _route(scope), "http_status": exchange.status}
        _log.info("request_served", **keys, duration_ms=duration_ms)

    async def _serve(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        status = self._forbidden(scope)
        if status is None:
            body = await _read_body(scope, receive, self._body_wait_s)
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), exchange.send)
                return
            status = body
        await self._refuse(scope, exchange, status)

    def _forbidden(self, scope: Scope) -> HTTPStatus | None:
        if self._under_way > self._requests_max:
            return HTTPStatus.SERVICE_UNAVAILABLE
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _name_of(hosts[0]) not in self._names:
            return HTTPStatus.MISDIRECTED_REQUEST
        if scope["method"] not in _SAFE_METHODS and not _is_from_own_page(headers, hosts[0]):
            return HTTPStatus.FORBIDDEN
        return None

    async def _refuse(self, scope: Scope, exchange: "_Exchange", status: HTTPStatus) -> None:
        response = self._answer(Request(scope), status)
        await response(scope, _nothing, exchange.send)


class _Exchange:
    """The answer under way: remembers its status and adds the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def _is_from_own_page(headers: Headers, host: str) -> bool:
    """Say whether a change comes from a page of ours, or from no page at all.

    A browser says where a form comes from; scripts say nothing. Without Sec-Fetch-Site, which browsers send to
    loopback since 2023, an opaque Origin ("null") counts as foreign.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN_PAGES
    origin = headers.get("origin")
    return origin is None or origin == f"http://{host}"


async def _read_body(scope: Scope, receive: Receive, wait_s: float) -> bytes | HTTPStatus:
    """Return the body, or why it is not taken."""
    length = Headers(scope=scope).get("content-length", "")
    if length.isdigit() and (len(length) > len(str(BODY_BYTES_MAX)) or int(length) > BODY_BYTES_MAX):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    body = bytearray()
    try:
        async with asyncio.timeout(wait_s):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > BODY_BYTES_MAX:
                    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return HTTPStatus.REQUEST_TIMEOUT


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _route(scope: Scope) -> str:
    """Return the route's template, never the path."""
    return str(getattr(scope.get("route"), "path", "unknown"))
