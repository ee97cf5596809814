"""docs/reference/metrics.md is what the declarations say."""

from tests.docs.metrics_page import FILE, page


def test_the_page_of_metrics_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == page(), "run `python -m tests.docs.metrics_page`"
