"""The interface's own description (OpenAPI 3.1): schemas generated from the very types that are sent.

Answers are msgspec structs, requests are pydantic models; FastAPI describes the second, this module adds the first.
"""

from typing import Any, Final

import msgspec
from fastapi import FastAPI

from services.followup.usecases.worklist_items import WorklistDetail, WorklistItem, WorklistPage
from services.followup.web.examples import EXAMPLE_ITEM
from services.followup.web.problems import PROBLEM_JSON, Problem, problem

Responses = dict[int | str, dict[str, Any]]

_SCHEMA_PATH: Final = "#/components/schemas/"
_SENT: Final = (WorklistPage, WorklistItem, WorklistDetail, Problem)
# Beside the schemas and not in the routes: FastAPI would leave every null out of them.
_EXAMPLES: Final = {
    "WorklistItem": EXAMPLE_ITEM,
    "WorklistPage": WorklistPage(items=(EXAMPLE_ITEM,), next_cursor=None),
    "Problem": problem(
        409, "task-changed", "Kim Lee was first: the task is not as you saw it.", winner="Kim Lee", item=EXAMPLE_ITEM
    ),
}


class DescribedApp(FastAPI):
    """A FastAPI application that also describes what it sends."""

    def openapi(self) -> dict[str, Any]:
        """Return the description; made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            _, schemas = msgspec.json.schema_components(_SENT, ref_template=_SCHEMA_PATH + "{name}")
            for name, example in _EXAMPLES.items():
                schemas[name]["examples"] = [msgspec.json.decode(msgspec.json.encode(example))]
            described.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
            self.openapi_schema = described
        return self.openapi_schema


def answers(sent: type[msgspec.Struct], description: str) -> Responses:
    """Return what a route answers: `sent` as JSON, and problems."""
    return {200: _content(description, "application/json", sent), **problems()}


def problems() -> Responses:
    """Return what every route may answer."""
    return {"default": _content("Refused; says why and what to do (RFC 9457).", PROBLEM_JSON, Problem)}


def changes() -> Responses:
    """Return what a route that changes a task answers."""
    late = _content("Not as things stand: the task as it is, and who was first.", PROBLEM_JSON, Problem)
    return {**answers(WorklistItem, "The task as it is now."), 409: late}


def _content(description: str, media_type: str, sent: type[msgspec.Struct]) -> dict[str, Any]:
    schema = {"$ref": _SCHEMA_PATH + sent.__name__}
    return {"description": description, "content": {media_type: {"schema": schema}}}
