"""What clients send: the bodies of `claim`, `attempt` and `complete`, as JSON or as a form.

Unknown fields are refused, so that a note sent as `notes` is not lost without a word. `as` names who acts; accounts
come in a later release, until then a name is taken at its word.
"""

import re
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from services.followup.domain.attempts import NOTE_CHARS_MAX, Mode, Outcome, Reached
from services.followup.usecases.worklist import ACTOR_CHARS_MAX, DEFAULT_ACTOR, AttemptMade

VERSION_MAX: Final = 2**31 - 1  # what the column holds

_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.]\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _only_instants(value: object) -> object:
    """Refuse what pydantic would read as a time and a person would not: numbers, and times without an offset."""
    if value is None or isinstance(value, datetime) or (isinstance(value, str) and _INSTANT.fullmatch(value)):
        return value
    raise ValueError("must be a time with a UTC offset, like 2026-11-24T15:30:00-05:00 or ...Z")


class Body(BaseModel):
    """What every change says: on which sight of the task, and by whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[
        int,
        Field(
            strict=True, ge=1, le=VERSION_MAX, description="The `version` of the task that this acts on.", examples=[3]
        ),
    ]
    actor: Annotated[
        str,
        Field(
            alias="as",
            max_length=ACTOR_CHARS_MAX,
            description="Who acts: the name that others see.",
            examples=["Kim Lee"],
        ),
    ] = DEFAULT_ACTOR


class ClaimBody(Body):
    """Take a task."""


class AttemptBody(Body):
    """An attempt to reach somebody."""

    mode: Annotated[Mode, Field(description="How it was tried.", examples=["phone"])]
    reached: Annotated[
        Reached | Literal["none"] | None,
        Field(description="Who was reached; `none` or null: nobody.", examples=["patient"]),
    ] = None
    outcome: Annotated[Outcome, Field(description="What came of it.", examples=["reached"])]
    note: Annotated[str | None, Field(max_length=NOTE_CHARS_MAX, examples=["Has all medicines; visit on Monday."])] = (
        None
    )
    at: Annotated[
        AwareDatetime | None,
        BeforeValidator(_only_instants),
        Field(description="When it was made, if not now: never ahead of now, never before the discharge."),
    ] = None

    def made(self) -> AttemptMade:
        """Return the attempt as the use case takes it."""
        return AttemptMade(
            mode=self.mode,
            reached=None if self.reached == "none" else self.reached,
            outcome=self.outcome,
            note=self.note,
            at=self.at,
        )


class CompleteBody(Body):
    """The end of a task."""

    outcome: Annotated[Outcome, Field(description="What came of it in the end.", examples=["reached"])]
