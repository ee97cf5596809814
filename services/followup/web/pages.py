"""The pages for coordinators: server-rendered, complete without a line of script.

Actions are plain form posts answered by a redirect, so that a reload repeats nothing; what goes wrong is a page that
says so. Until accounts come, the name that somebody works under is kept in a cookie and taken at its word.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import datetime
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal, TypeVar
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ValidationError
from starlette.responses import HTMLResponse, RedirectResponse

from services.followup.domain.attempts import NOTE_CHARS_MAX, NotAllowed
from services.followup.domain.working_time import zone_named
from services.followup.usecases.worklist import (
    ACTOR_CHARS_MAX,
    DEFAULT_ACTOR,
    LIMIT_DEFAULT,
    Done,
    Overtaken,
    Worklist,
    usable_name,
)
from services.followup.usecases.worklist_items import WorklistDetail, WorklistItem, WorklistPage
from services.followup.web import words
from services.followup.web.bodies import AttemptBody, ClaimBody, CompleteBody
from services.followup.web.forms import read_form
from services.followup.web.problems import Problem, Refusals, invalid, refusal, status_problem, task_unknown
from services.followup.web.views import task_view, timeline
from services.runtime.lifecycle import in_thread

Show = Literal["open", "closed", "all"]

NAME_COOKIE: Final = "afterstay_name"
NAME_KEPT_S: Final = 12 * 3600  # a working day
_PACKAGE: Final = "services.followup.web"
_IS_OPEN: Final[Mapping[str, bool | None]] = MappingProxyType({"open": True, "closed": False, "all": None})
_STATIC: Final = MappingProxyType({"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"})
_STATIC_CACHE: Final = "no-cache"  # asked for again each time, so that an update shows at once

_Body = TypeVar("_Body", bound=BaseModel)
