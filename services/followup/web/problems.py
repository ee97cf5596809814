"""Refusals of the web interface: RFC 9457 problem documents, or the same as a page for people in a browser.

Promise: every answer of 400 and above is one of the two. It says what, why and what to do, has a stable `code`, and
never repeats what was sent nor shows what is inside (fault B42).
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.followup.domain.attempts import NotAllowed
from services.followup.usecases.worklist import Overtaken, Refused
from services.followup.usecases.worklist_items import WorklistItem
from services.runtime.errors import AfterstayError, Ambiguous, Transient

PROBLEM_JSON: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
API_PREFIX: Final = "/api/"


class FieldProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one part of a request."""

    where: str
    text: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal (RFC 9457). `code` is stable; `item` is the task as it is now, `winner` who changed it first."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldProblem, ...] = ()
    winner: str | None = None
    item: WorklistItem | None = None


RenderProblem = Callable[[Request, Problem], str]
"""Makes a page of a problem."""


class Refusals:
    """Answers with problems, in the form that the client asked for."""

    def __init__(self, render: RenderProblem) -> None:
        self._render = render

    def answer(self, request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
        """Return a problem document, or a page where a browser asks for one outside of the API."""
        if _wants_page(request):
            page = self._render(request, problem)
            return Response(page, status_code=problem.status, headers=headers, media_type="text/html")
        content = msgspec.json.encode(problem)
        return Response(content, status_code=problem.status, headers=headers, media_type=PROBLEM_JSON)

    async def on_http_exception(self, request: Request, error: Exception) -> Response:
        """Answer for a route that is not there, a method that it does not have, a body that cannot be read."""
        assert isinstance(error, HTTPException)
        headers = dict(error.headers) if error.headers else None
        return self.answer(request, status_problem(error.status_code), headers)

    async def on_invalid(self, request: Request, error: Exception) -> Response:
        """Answer for a request whose parts are not what they must be."""
        assert isinstance(error, RequestValidationError)
        return self.answer(request, invalid(error.errors()))

    async def on_error(self, request: Request, error: Exception) -> Response:
        """Answer for the services' own errors: what to do is in their class."""
        assert isinstance(error, AfterstayError)
        if isinstance(error, Transient):
            text = "The database is busy or away. Nothing was changed; try again in a moment."
            return self.answer(request, problem(503, error.code, text), {"Retry-After": str(RETRY_AFTER_S)})
        if isinstance(error, Ambiguous):
            return self.answer(
                request, problem(500, error.code, "It may have been done or not: look before trying again.")
            )
        return self.answer(request, problem(500, error.code, "The service cannot do this; its operator has to look."))


def problem(status: int, code: str, detail: str, **more: Any) -> Problem:  # noqa: ANN401 - Problem's own fields
    """Return a problem; the code names its type."""
    title = HTTPStatus(status).phrase
    return Problem(type=f"urn:afterstay:problem:{code}", title=title, status=status, detail=detail, code=code, **more)


def status_problem(status: int) -> Problem:
    """Return the problem of a status that says everything."""
    code, detail = _STATUS_TEXTS.get(status, ("request-refused", "The request was refused."))
    return problem(status, code, detail)


def invalid(errors: Sequence[Any]) -> Problem:
    """Return the problem of a request that does not have the right parts, from pydantic's errors."""
    if any(error["type"] == "json_invalid" for error in errors):
        return problem(400, "json-invalid", "The body is not JSON.")
    listed = tuple(FieldProblem(where=_where(error), text=_text(error)) for error in errors)
    return problem(422, "request-invalid", "Some of what was sent is not what it must be; see `errors`.", errors=listed)


def task_unknown() -> Problem:
    """Return the problem of a task that is not there."""
    return problem(404, "task-unknown", "There is no such task.")


def refusal(answer: Refused | Overtaken | NotAllowed | None) -> Problem:
    """Return the problem of what the worklist refused."""
    match answer:
        case None:
            return task_unknown()
        case NotAllowed():
            return problem(422, answer.code, answer.text)
        case Refused():
            return problem(422 if answer.about_input else 409, answer.code, answer.text, item=answer.item)
        case Overtaken():
            text = f"{answer.winner} was first: the task is not as you saw it. Look at it as it is now."
            return problem(409, "task-changed", text, winner=answer.winner, item=answer.item)


_STATUS_TEXTS: Final = {
    400: ("request-unreadable", "The request cannot be read."),
    403: ("cross-site", "This came from another site's page, so it was not done."),
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not do that."),
    408: ("body-slow", "The body of the request did not arrive in time."),
    413: ("body-too-large", "The body of the request is larger than any that is needed here."),
    415: ("content-type-unknown", "The body must be a form."),
    421: ("host-unknown", "This service answers to loopback names only, such as 127.0.0.1."),
    503: ("too-busy", "Too many requests are under way. Nothing was done; try again in a moment."),
    500: ("internal-error", "Something is broken here; it was logged. Nothing is known about what was done."),
}


def _wants_page(request: Request) -> bool:
    return not request.url.path.startswith(API_PREFIX) and "text/html" in request.headers.get("accept", "")


def _where(error: dict[str, Any]) -> str:
    """Name the part; an unknown field is not named, because its name is what somebody sent."""
    location = error["loc"][:-1] if error["type"] == "extra_forbidden" else error["loc"]
    return ".".join(str(part) for part in location)


def _text(error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "has a field that is not known here"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
