"""Shows the values in a failed assertion of the suite, as pytest does for test modules."""

import pytest

pytest.register_assert_rewrite("tests.runtime.eventlog.suite", "tests.runtime.eventlog.lag_suite")
