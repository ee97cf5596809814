"""The pages for coordinators, rendered on the server and complete without a line of script.

Everything in them that came from a sender or a person is escaped by the templates and set apart from its
surroundings (`<bdi>`), so that no name can be markup or turn the text around it (faults B17, B36).
"""

from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.followup.domain.attempts import NOTE_CHARS_MAX
from services.followup.usecases.worklist import ACTOR_CHARS_MAX, DEFAULT_ACTOR
from services.followup.usecases.worklist_items import WorklistDetail, WorklistPage
from services.followup.web import words
from services.followup.web.problems import Problem
from services.followup.web.views import task_view, timeline

Show = Literal["open", "closed", "all"]

_PACKAGE: Final = "services.followup.web"
_MEDIA_TYPES: Final = MappingProxyType({"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"})
_MODES: Final = MappingProxyType({"phone": "Phone", "text": "Text message", "portal": "Portal", "visit": "Visit"})
_REACHED: Final = MappingProxyType(
    {"none": "Nobody", "patient": "Patient", "guardian": "Guardian", "caregiver": "Caregiver", "other": "Somebody else"}
)
_PROBLEM_TITLES: Final = MappingProxyType(
    {404: "Not found", 409: "Not done: see how the task stands", 422: "Not done: something is missing or wrong"}
)


class Pages:
    """Renders pages; `now` tells the time (aware)."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._templates = Environment(
            loader=PackageLoader(_PACKAGE),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "default_actor": DEFAULT_ACTOR,
            "actor_chars_max": ACTOR_CHARS_MAX,
            "note_chars_max": NOTE_CHARS_MAX,
            "modes": _MODES,
            "reached": _REACHED,
            "outcomes": words.OUTCOME_WORDS,
        }

    def worklist(self, page: WorklistPage, *, show: Show, is_first: bool, name: str | None) -> str:
        """Return the list."""
        now = self._now()
        return self._render(
            "worklist.html",
            tasks=[task_view(item, now) for item in page.items],
            next_cursor=page.next_cursor,
            show=show,
            is_first=is_first,
            name=name,
        )

    def task(self, detail: WorklistDetail, *, name: str | None) -> str:
        """Return one task with what can be done and what has happened."""
        now = self._now()
        return self._render(
            "task.html", task=task_view(detail, now), moments=timeline(detail, now), show=None, name=name
        )

    def problem(self, _request: Request, problem: Problem) -> str:
        """Return a refusal."""
        task = task_view(problem.item, self._now()) if problem.item else None
        title = _PROBLEM_TITLES.get(problem.status, "Not done")
        return self._render("problem.html", problem=problem, task=task, title=title, show=None, name=None)

    def _render(self, template: str, **values: object) -> str:
        return self._templates.get_template(template).render(values)


def static_files() -> dict[str, tuple[bytes, str]]:
    """Return the files that pages link to: name to content and media type."""
    folder = files(_PACKAGE) / "static"
    return {name: ((folder / name).read_bytes(), media_type) for name, media_type in _MEDIA_TYPES.items()}
