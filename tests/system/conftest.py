"""The service that tests share where they do not disturb each other."""

from collections.abc import Iterator

import pytest

from tests.system.people import FEEDS_WITH_DEFAULT, Person, panel_of, people
from tests.system.service import Service

_PEOPLE = people(100)
_BORROWED: list[Person] = []


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a panel, a feed and a default, that logs everything it would ever log.

    Nothing that any sender says may make it end or complain: that is checked when the last test is done.
    """
    folder = tmp_path_factory.mktemp("shared")
    panel = folder / "panel.csv"
    panel.write_text(panel_of(*_PEOPLE), encoding="utf-8")
    with Service(folder, feeds=FEEDS_WITH_DEFAULT, log_level="debug") as service:
        loaded = service.run("panel", "import", panel)
        assert loaded.code == 0, loaded
        yield service
        service.settle()
        assert service.get("/readyz").status_code == 200
        assert service.complaints() == []


@pytest.fixture
def person() -> Person:
    """Somebody on the panel of the shared service whom no other test uses."""
    _BORROWED.append(_PEOPLE[len(_BORROWED)])
    return _BORROWED[-1]


@pytest.fixture
def other_person() -> Person:
    """Somebody else."""
    _BORROWED.append(_PEOPLE[len(_BORROWED)])
    return _BORROWED[-1]
