"""Where the pages are and what their forms do.

Actions are plain form posts answered by a redirect, so that a reload repeats nothing; what goes wrong is a page that
says so. Until accounts come, the name that somebody works under is kept in a cookie and taken at its word.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from typing import Annotated, Final, TypeVar
from urllib.parse import quote, unquote

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from starlette.responses import HTMLResponse, RedirectResponse

from services.followup.domain.attempts import NotAllowed
from services.followup.domain.working_time import zone_named
from services.followup.usecases.worklist import DEFAULT_ACTOR, Done, Overtaken, Worklist, usable_name
from services.followup.usecases.worklist_items import WorklistItem
from services.followup.web.bodies import AttemptBody, Body, ClaimBody, CompleteBody
from services.followup.web.forms import read_form
from services.followup.web.pages import Pages, Show, static_files
from services.followup.web.problems import Problem, Refusals, invalid, refusal, status_problem, task_unknown
from services.runtime.lifecycle import in_thread

NAME_COOKIE: Final = "afterstay_name"
NAME_KEPT_S: Final = 12 * 3600  # a working day

_SHOWN: Final[dict[Show, bool | None]] = {"open": True, "closed": False, "all": None}
_Body = TypeVar("_Body", bound=Body)


def pages_router(worklist: Worklist, pages: Pages, refusals: Refusals, executor: Executor) -> APIRouter:
    """Return the routes that show things."""
    router = APIRouter(include_in_schema=False)
    static = static_files()

    @router.get("/")
    async def show_worklist(
        request: Request, show: Show = "open", cursor: Annotated[str | None, Query()] = None
    ) -> Response:
        name = _remembered(request)
        actor = name or DEFAULT_ACTOR
        page = await in_thread(executor, lambda: worklist.page(is_open=_SHOWN[show], cursor=cursor, actor=actor))
        if isinstance(page, NotAllowed):
            return refusals.answer(request, refusal(page))
        return HTMLResponse(pages.worklist(page, show=show, is_first=cursor is None, name=name))

    @router.get("/tasks/{task_id}")
    async def show_task(request: Request, task_id: str) -> Response:
        name = _remembered(request)
        found = await in_thread(executor, lambda: worklist.find(task_id, actor=name or DEFAULT_ACTOR))
        if found is None:
            return refusals.answer(request, task_unknown())
        return HTMLResponse(pages.task(found, name=name))

    @router.get("/static/{file_name}")
    async def send_static(request: Request, file_name: str) -> Response:
        if file_name not in static:
            return refusals.answer(request, status_problem(404))
        content, media_type = static[file_name]
        # Asked for again each time, so that an update shows at once.
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return router


def forms_router(worklist: Worklist, refusals: Refusals, executor: Executor) -> APIRouter:
    """Return the routes that forms post to."""
    forms = _Forms(worklist, refusals, executor)
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/tasks/{task_id}/claim", forms.claim, methods=["POST"])
    router.add_api_route("/tasks/{task_id}/attempt", forms.attempt, methods=["POST"])
    router.add_api_route("/tasks/{task_id}/complete", forms.complete, methods=["POST"])
    router.add_api_route("/name", forms.remember_name, methods=["POST"])
    return router


class _Forms:
    """The handlers of the forms."""

    def __init__(self, worklist: Worklist, refusals: Refusals, executor: Executor) -> None:
        self._worklist = worklist
        self._refusals = refusals
        self._executor = executor

    async def claim(self, request: Request, task_id: str) -> Response:
        def change(body: ClaimBody) -> Done:
            return self._worklist.claim(task_id, body.version, actor=body.actor)

        return await self._act(request, task_id, ClaimBody, change)

    async def attempt(self, request: Request, task_id: str) -> Response:
        def change(body: AttemptBody) -> Done:
            return self._worklist.attempt(task_id, body.version, body.made(), actor=body.actor)

        return await self._act(request, task_id, AttemptBody, change)

    async def complete(self, request: Request, task_id: str) -> Response:
        def change(body: CompleteBody) -> Done:
            return self._worklist.complete(task_id, body.version, body.outcome, actor=body.actor)

        return await self._act(request, task_id, CompleteBody, change)

    async def remember_name(self, request: Request) -> Response:
        form = await read_form(request)
        if form is None:
            return self._refusals.answer(request, status_problem(415))
        name = usable_name(form.get("as", DEFAULT_ACTOR))
        if isinstance(name, NotAllowed):
            return self._refusals.answer(request, refusal(name))
        return _redirect("/", remember=name)

    async def _act(
        self, request: Request, task_id: str, body_type: type[_Body], change: Callable[[_Body], Done]
    ) -> Response:
        form = await read_form(request)
        if form is None:
            return self._refusals.answer(request, status_problem(415))
        form.setdefault("as", _remembered(request) or DEFAULT_ACTOR)
        body = _parse(body_type, form)
        if isinstance(body, Problem):
            return self._refusals.answer(request, body)
        done = await in_thread(self._executor, change, body)
        if isinstance(done, WorklistItem) or _is_repeat(done, body):
            return _redirect(f"/tasks/{quote(task_id)}", remember=body.actor)
        return self._refusals.answer(request, refusal(done))


def _parse(body_type: type[_Body], form: dict[str, str]) -> _Body | Problem:
    """Return the form as the body that a script would have sent."""
    fields: dict[str, object] = {**form}
    version = form.get("version", "")
    if version.isascii() and version.isdigit() and len(version) <= 10:
        fields["version"] = int(version)
    zone = fields.pop("zone", None)
    if "at" in form and zone is not None:
        fields["at"] = _local_time(form["at"], form["zone"])
    try:
        return body_type.model_validate(fields)
    except ValidationError as error:
        return invalid(error.errors(include_url=False, include_context=False, include_input=False))


def _local_time(text: str, zone: str) -> datetime | str:
    """Return a time as a `datetime-local` field gives it, read in a zone; as it is where it cannot be read."""
    try:
        local = datetime.fromisoformat(text)
        return local.replace(tzinfo=zone_named(zone)) if local.tzinfo is None else text
    except ValueError:
        return text


def _is_repeat(done: Done, body: Body) -> bool:
    """Say whether a claim came too late only because the same person's click had come twice."""
    return isinstance(body, ClaimBody) and isinstance(done, Overtaken) and done.item.owner == body.actor


def _remembered(request: Request) -> str | None:
    """Return the name that somebody gave before, if it is one."""
    name = usable_name(unquote(request.cookies.get(NAME_COOKIE, "")))
    return None if isinstance(name, NotAllowed) else name


def _redirect(to: str, *, remember: str) -> Response:
    response = RedirectResponse(to, status_code=303)
    if remember != DEFAULT_ACTOR:
        response.set_cookie(
            NAME_COOKIE, quote(remember), max_age=NAME_KEPT_S, path="/", httponly=True, samesite="strict"
        )
    return response
