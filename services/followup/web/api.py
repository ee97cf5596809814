"""The JSON interface: tasks to read and to act on, and the two health checks.

Scripts stand on it: paths, fields and codes are those of `docs/reference/http-api.md` and do not change within `v1`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from services.followup.domain.attempts import NotAllowed
from services.followup.usecases.worklist import LIMIT_DEFAULT, LIMIT_MAX, Done, Worklist
from services.followup.usecases.worklist_cursor import CURSOR_CHARS_MAX
from services.followup.usecases.worklist_items import WorklistDetail, WorklistItem, WorklistPage
from services.followup.web.bodies import AttemptBody, ClaimBody, CompleteBody
from services.followup.web.openapi import answers, changes, problems
from services.followup.web.problems import Problem, Refusals, problem, refusal, task_unknown
from services.runtime.lifecycle import in_thread

Check = Callable[[], Sequence[str]]
"""A health check: returns what is wrong, as kebab-case codes; nothing when all is well."""

TaskId = Annotated[str, Path(description="The task's `id`.")]
OpenFilter = Annotated[
    bool | None, Query(alias="open", description="Only open tasks, or only closed ones; without it all.")
]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str | None, Query(max_length=CURSOR_CHARS_MAX, description="`next_cursor` of the page before.")]
_Answer = TypeVar("_Answer")


def tasks_router(worklist: Worklist, refusals: Refusals, executor: Executor) -> APIRouter:
    """Return the routes of the worklist."""
    tasks = _Tasks(worklist, refusals, executor)
    router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"])
    listed = answers(WorklistPage, "A page.")
    shown = answers(WorklistDetail, "The task and its past.")
    router.add_api_route("", tasks.list, summary="List tasks by deadline", responses=listed)
    router.add_api_route("/{task_id}", tasks.show, summary="Show a task", responses=shown)
    for action, handle, summary in (
        ("claim", tasks.claim, "Take a task"),
        ("attempt", tasks.attempt, "Record an attempt to reach somebody"),
        ("complete", tasks.complete, "End a task"),
    ):
        path = f"/{{task_id}}/{action}"
        router.add_api_route(path, handle, methods=["POST"], summary=summary, responses=changes())
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


class _Tasks:
    """The handlers of one router; their parameters are what OpenAPI shows."""

    def __init__(self, worklist: Worklist, refusals: Refusals, executor: Executor) -> None:
        self._worklist = worklist
        self._refusals = refusals
        self._executor = executor

    async def list(
        self, request: Request, is_open: OpenFilter = None, limit: Limit = LIMIT_DEFAULT, cursor: Cursor = None
    ) -> Response:
        """Return tasks by deadline. Walk the pages with `next_cursor`; rows that come or go meanwhile do no harm."""
        if _has_repeats(request):
            return self._refuse(request, problem(422, "parameter-repeated", "A parameter was given more than once."))
        page = await self._run(lambda: self._worklist.page(is_open=is_open, limit=limit, cursor=cursor))
        return self._refuse(request, refusal(page)) if isinstance(page, NotAllowed) else _json(page)

    async def show(self, request: Request, task_id: TaskId) -> Response:
        """Return a task with the messages behind it, its attempts and its history."""
        found = await self._run(lambda: self._worklist.find(task_id))
        return self._refuse(request, task_unknown()) if found is None else _json(found)

    async def claim(self, request: Request, task_id: TaskId, body: ClaimBody) -> Response:
        """Take a task that nobody has. Of two who try at once one gets 409, with the other's name."""
        done = await self._run(lambda: self._worklist.claim(task_id, body.version, actor=body.actor))
        return self._reply(request, done)

    async def attempt(self, request: Request, task_id: TaskId, body: AttemptBody) -> Response:
        """Record an attempt. Who makes the first one on a task that nobody has, has it."""
        done = await self._run(lambda: self._worklist.attempt(task_id, body.version, body.made(), actor=body.actor))
        return self._reply(request, done)

    async def complete(self, request: Request, task_id: TaskId, body: CompleteBody) -> Response:
        """End a task with what came of it.

        It is then `completed` when somebody was reached; `failed` when follow-up was refused, or when nobody was
        reached in at least two recorded attempts; `cancelled` when the patient has died or is in a facility.
        """
        done = await self._run(lambda: self._worklist.complete(task_id, body.version, body.outcome, actor=body.actor))
        return self._reply(request, done)

    async def _run(self, act: Callable[[], _Answer]) -> _Answer:
        return await in_thread(self._executor, act)

    def _reply(self, request: Request, answer: Done) -> Response:
        return _json(answer) if isinstance(answer, WorklistItem) else self._refuse(request, refusal(answer))

    def _refuse(self, request: Request, refused: Problem) -> Response:
        return self._refusals.answer(request, refused)


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _has_repeats(request: Request) -> bool:
    given = request.query_params.multi_items()
    return len({name for name, _ in given}) != len(given)
