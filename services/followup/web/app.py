"""Puts the web interface together: a JSON interface for scripts, pages for people, health checks for supervisors.

Nothing is global: each call makes an application over the use cases and callables it is handed. The shells are
asynchronous; use cases run on the executor, through the one thread helper.
"""

from concurrent.futures import Executor
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.followup.usecases.worklist import Worklist
from services.followup.web.api import Check, health_router, tasks_router
from services.followup.web.guard import Guard
from services.followup.web.openapi import DescribedApp
from services.followup.web.page_routes import forms_router, pages_router
from services.followup.web.pages import Pages
from services.followup.web.problems import Refusals, status_problem
from services.runtime.clock import Clock
from services.runtime.errors import AfterstayError


def create_app(worklist: Worklist, *, clock: Clock, executor: Executor, live: Check, ready: Check) -> FastAPI:
    """Return the application. `executor` runs the use cases: a few threads of its own, so that pages wait for pages."""
    pages = Pages(clock.now)
    refusals = Refusals(pages.problem)
    app = DescribedApp(
        title="Afterstay",
        version="1",
        description="Follow-up tasks after hospital stays. Times are RFC 3339 in UTC, dates those at the facility.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, refusals.on_http_exception)
    app.add_exception_handler(RequestValidationError, refusals.on_invalid)
    app.add_exception_handler(AfterstayError, refusals.on_error)
    app.include_router(tasks_router(worklist, refusals, executor))
    app.include_router(health_router(live, ready, refusals, executor))
    app.include_router(pages_router(worklist, pages, refusals, executor))
    app.include_router(forms_router(worklist, refusals, executor))
    app.add_middleware(Guard, answer=partial(_answer_status, refusals), clock=clock)
    return app


def _answer_status(refusals: Refusals, request: Request, status: int) -> Response:
    return refusals.answer(request, status_problem(status))
