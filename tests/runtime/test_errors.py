"""Errors say what the caller must do, carry a stable code, and survive copying."""

import copy
import pickle
from pathlib import Path

import pytest

from services.runtime.errors import (
    AfterstayError,
    Ambiguous,
    ConfigurationError,
    ConfigurationProblem,
    Defect,
    Permanent,
    Transient,
)

PROBLEMS = (
    ConfigurationProblem(file=Path("feeds.yaml"), line=7, reason="unknown key 'zon'; did you mean 'zone'?"),
    ConfigurationProblem(file=Path("feeds.yaml"), line=None, reason="no feed is named"),
)


@pytest.mark.parametrize("kind", [Permanent, Transient, Ambiguous, Defect])
def test_the_text_of_an_error_is_its_advice_and_its_code_stands_apart(kind: type[AfterstayError]) -> None:
    error = kind("disk-full", "the disk is full; make room")
    assert str(error) == error.message == "the disk is full; make room"
    assert error.code == "disk-full"
    assert repr(error) == f"{kind.__name__}('disk-full', 'the disk is full; make room')"


def test_the_four_ways_to_act_exclude_each_other() -> None:
    kinds = [Permanent, Transient, Ambiguous, Defect]
    assert all(issubclass(kind, AfterstayError) for kind in kinds)
    assert not any(issubclass(one, other) for one in kinds for other in kinds if one is not other)


@pytest.mark.parametrize("code", ["", "DiskFull", "disk_full", "disk--full", "-disk", "disk-", "disk full", "7disk"])
def test_a_code_that_is_not_kebab_case_is_a_programmer_s_mistake(code: str) -> None:
    with pytest.raises(AssertionError):
        Permanent(code, "advice")


def test_a_configuration_error_lists_every_problem_with_its_place() -> None:
    error = ConfigurationError(PROBLEMS)
    assert isinstance(error, Permanent)
    assert error.code == "configuration-invalid"
    assert error.problems == PROBLEMS
    assert str(error).splitlines() == [
        "feeds.yaml:7: unknown key 'zon'; did you mean 'zone'?",
        "feeds.yaml: no feed is named",
    ]


def test_a_configuration_error_names_at_least_one_problem() -> None:
    with pytest.raises(AssertionError):
        ConfigurationError([])


@pytest.mark.parametrize("error", [Transient("disk-full", "make room"), ConfigurationError(PROBLEMS, "feeds-invalid")])
def test_an_error_survives_copying_and_pickling(error: AfterstayError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (twin.code, twin.message, str(twin)) == (error.code, error.message, str(error))
    if isinstance(error, ConfigurationError):
        assert copy.copy(error).problems == error.problems
