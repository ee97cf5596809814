"""Writes docs/reference/metrics.md from the declarations: `python -m tests.docs.metrics_page`."""

from services.runtime.metrics import ALL
from tests.docs.pages import ROOT

FILE = ROOT / "docs" / "reference" / "metrics.md"
HEAD = """\
# Metrics

Every process of production serves these at `/metrics` on its ops port, each those of its own parts, in Prometheus' text
format. Counts start at 0 with the process. Labels are of closed sets: never a person, a record number, a control id or
free text. This page is written from `services/runtime/metrics.py`.

| metric | kind | labels | what it says |
|---|---|---|---|
"""


def page() -> str:
    """Return the page as it should be."""
    rows = [f"| `{one.name}` | {one.kind} | {' '.join(one.labels) or '-'} | {one.help} |\n" for one in ALL]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
