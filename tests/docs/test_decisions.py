"""Records of decisions and guarantees stay true to the project: its dependencies, its tests, their own form."""

import re
import tomllib
from collections.abc import Iterable

from tests.docs.pages import ROOT, all_pages, read_page, table_rows


def test_the_record_of_dependencies_names_exactly_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = read_page("docs/adr/0002-dependencies.md").section("Decision")
    told = {name.split()[0] for row in table_rows(text) for name in row[0].split(",")}
    assert told == _names(project["dependencies"]) | _names(project["optional-dependencies"]["dev"])


def _names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[^a-z0-9-]", one, maxsplit=1)[0] for one in requirements}


def test_every_test_that_the_guarantees_name_is_there() -> None:
    named = {code for code in read_page("docs/explanation/guarantees.md").inline_code() if code.startswith("tests/")}
    assert len(named) >= 10
    assert [name for name in sorted(named) if not _is_there(*name.partition("::")[::2])] == []


def _is_there(file: str, test: str) -> bool:
    path = ROOT / file
    return path.exists() and (not test or f"def {test}(" in path.read_text(encoding="utf-8"))


def test_every_decision_has_its_parts_and_a_page_at_most() -> None:
    records = [page for page in all_pages() if page.name.startswith("docs/adr/")]
    assert len(records) >= 10
    for page in records:
        headings = re.findall(r"^## (.+)$", page.text, re.MULTILINE)
        assert headings == ["Motivation", "Decision", "Prior art and alternatives", "Consequences"], page.name
        assert re.search(
            r"^Status: (accepted|proposed|superseded by \d{4}) · \d{4}-\d\d-\d\d$", page.text, re.MULTILINE
        )
        assert len(page.text.splitlines()) <= 75, f"{page.name} is longer than a page"
