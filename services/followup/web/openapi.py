"""The interface's own description (OpenAPI 3.1): schemas generated from the very types that are sent.

Answers are msgspec structs, requests are pydantic models; FastAPI describes the second, this module adds the first.
"""

from typing import Any, Final

import msgspec
from fastapi import FastAPI

from services.followup.usecases.worklist_items import WorklistDetail, WorklistItem, WorklistPage
from services.followup.web.problems import PROBLEM_JSON, Problem

Responses = dict[int | str, dict[str, Any]]

_SCHEMA_PATH: Final = "#/components/schemas/"
_SENT: Final = (WorklistPage, WorklistItem, WorklistDetail, Problem)


class DescribedApp(FastAPI):
    """A FastAPI application that also describes what it sends."""

    def openapi(self) -> dict[str, Any]:
        """Return the description; made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            _, schemas = msgspec.json.schema_components(_SENT, ref_template=_SCHEMA_PATH + "{name}")
            described.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
            self.openapi_schema = described
        return self.openapi_schema


def answers(sent: type[msgspec.Struct], description: str, example: object | None = None) -> Responses:
    """Return what a route answers: `sent` as JSON, and problems."""
    return {200: _content(description, "application/json", sent, example), **problems()}


def problems() -> Responses:
    """Return what every route may answer."""
    return {"default": _content("Refused; says why and what to do (RFC 9457).", PROBLEM_JSON, Problem)}


def conflict(example: Problem) -> Responses:
    """Return the answer of a change that came too late."""
    return {409: _content("Not as things stand: the task as it is, and who was first.", PROBLEM_JSON, Problem, example)}


def _content(
    description: str, media_type: str, sent: type[msgspec.Struct], example: object | None = None
) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _SCHEMA_PATH + sent.__name__}}
    if example is not None:
        content["example"] = msgspec.to_builtins(example, builtin_types=())
    return {"description": description, "content": {media_type: content}}
