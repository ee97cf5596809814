"""All the stories there are.

Owns the list. Promise: names are unique, and every simulation of the default size tells each story at least once.
"""

from typing import Final

from services.simulator.stories import cancels, corrections, dispositions, identities, intake, ordinary, timing
from services.simulator.stories.telling import Story

STORIES: Final[tuple[Story, ...]] = (
    *ordinary.STORIES,
    *dispositions.STORIES,
    *cancels.STORIES,
    *corrections.STORIES,
    *timing.STORIES,
    *identities.STORIES,
    *intake.STORIES,
)
