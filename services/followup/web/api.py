"""The JSON interface: tasks to read and to act on, and the two health checks.

Scripts stand on it: paths, fields and codes are those of `docs/reference/http.md` and do not change within `v1`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from services.followup.domain.attempts import NotAllowed
from services.followup.usecases.worklist import LIMIT_DEFAULT, LIMIT_MAX, Done, Worklist
from services.followup.usecases.worklist_cursor import CURSOR_CHARS_MAX
from services.followup.usecases.worklist_items import WorklistDetail, WorklistItem, WorklistPage
from services.followup.web.bodies import AttemptBody, ClaimBody, CompleteBody
from services.followup.web.examples import EXAMPLE_ITEM
from services.followup.web.openapi import Responses, answers, conflict, problems
from services.followup.web.problems import Refusals, problem, refusal, task_unknown
from services.runtime.lifecycle import in_thread

Check = Callable[[], Sequence[str]]
"""A health check: returns what is wrong, as kebab-case codes; nothing when all is well."""

TaskId = Annotated[str, Path(description="The task's `id`.")]
_PAGE_EXAMPLE: Final = WorklistPage(items=(EXAMPLE_ITEM,), next_cursor=None)
_LATE: Final = problem(
    409, "task-changed", "Kim Lee was first: the task is not as you saw it.", winner="Kim Lee", item=EXAMPLE_ITEM
)
_CHANGES: Final[Responses] = {**answers(WorklistItem, "The task as it is now.", EXAMPLE_ITEM), **conflict(_LATE)}


def tasks_router(worklist: Worklist, refusals: Refusals, executor: Executor) -> APIRouter:
    """Return the routes of the worklist."""
    router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"])

    def reply(request: Request, answer: Done) -> Response:
        if isinstance(answer, WorklistItem):
            return _json(answer)
        return refusals.answer(request, refusal(answer))

    @router.get("", summary="List tasks by deadline", responses=answers(WorklistPage, "A page.", _PAGE_EXAMPLE))
    async def list_tasks(
        request: Request,
        is_open: Annotated[
            bool | None, Query(alias="open", description="Only open tasks, or only closed ones; without it all.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
        cursor: Annotated[
            str | None, Query(max_length=CURSOR_CHARS_MAX, description="`next_cursor` of the page before.")
        ] = None,
    ) -> Response:
        if _has_repeats(request):
            return refusals.answer(request, problem(422, "parameter-repeated", "A parameter was given more than once."))
        page = await in_thread(executor, lambda: worklist.page(is_open=is_open, limit=limit, cursor=cursor))
        return refusals.answer(request, refusal(page)) if isinstance(page, NotAllowed) else _json(page)

    @router.get("/{task_id}", summary="Show a task", responses=answers(WorklistDetail, "The task and its past."))
    async def show_task(request: Request, task_id: TaskId) -> Response:
        found = await in_thread(executor, lambda: worklist.find(task_id))
        return refusals.answer(request, task_unknown()) if found is None else _json(found)

    @router.post("/{task_id}/claim", summary="Take a task", responses=_CHANGES)
    async def claim_task(request: Request, task_id: TaskId, body: ClaimBody) -> Response:
        done = await in_thread(executor, lambda: worklist.claim(task_id, body.version, actor=body.actor))
        return reply(request, done)

    @router.post("/{task_id}/attempt", summary="Record an attempt to reach somebody", responses=_CHANGES)
    async def record_attempt(request: Request, task_id: TaskId, body: AttemptBody) -> Response:
        def attempt() -> Done:
            return worklist.attempt(task_id, body.version, body.made(), actor=body.actor)

        return reply(request, await in_thread(executor, attempt))

    @router.post("/{task_id}/complete", summary="End a task", responses=_CHANGES)
    async def complete_task(request: Request, task_id: TaskId, body: CompleteBody) -> Response:
        def complete() -> Done:
            return worklist.complete(task_id, body.version, body.outcome, actor=body.actor)

        return reply(request, await in_thread(executor, complete))

    return router


def health_router(live: Check, ready: Check, refusals: Refusals, executor: Executor) -> APIRouter:
    """Return the routes for supervisors. `live` runs on the event loop and depends on nothing; `ready` may wait."""
    router = APIRouter(tags=["health"])

    def report(request: Request, wrong: Sequence[str]) -> Response:
        if not wrong:
            return Response('{"status":"ok"}', media_type="application/json")
        return refusals.answer(request, problem(HTTPStatus.SERVICE_UNAVAILABLE, "unhealthy", ", ".join(wrong)))

    @router.get("/livez", summary="Is the process alive", responses=problems())
    async def livez(request: Request) -> Response:
        return report(request, live())

    @router.get("/readyz", summary="Can it serve now", responses=problems())
    async def readyz(request: Request) -> Response:
        return report(request, await in_thread(executor, ready))

    return router


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _has_repeats(request: Request) -> bool:
    given = request.query_params.multi_items()
    return len({name for name, _ in given}) != len(given)
