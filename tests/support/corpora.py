"""Third-party HL7 messages that lie beside the repository and are never copied into it.

They are found by ``AFTERSTAY_CORPORA`` or at ``../shared/corpora``. Where there is none, tests marked ``corpora`` are
deselected, so that the suite passes on a machine that has only the repository; with ``CI`` set they run and fail.
"""

import os
from pathlib import Path
from typing import Literal

import pytest

Kind = Literal["adt", "other", "odd"]


def corpora_folder() -> Path:
    """Return where the corpora should be; the folder need not exist."""
    stated = os.environ.get("AFTERSTAY_CORPORA")
    return Path(stated) if stated else Path(__file__).parents[2].parent / "shared" / "corpora"


def corpora_files(kind: Kind) -> list[Path]:
    """Return the messages of a kind, by name; fail the test where there are none."""
    files = sorted((corpora_folder() / kind).glob("*.hl7"))
    if not files:
        pytest.fail(f"no messages in {corpora_folder() / kind}: set AFTERSTAY_CORPORA to the corpora's folder")
    return files


def with_cr(raw: bytes) -> bytes:
    """Return a message with CR, the only legal one, at each line end."""
    return raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what needs the corpora where they are not; a hook for a ``conftest.py`` to import."""
    if corpora_folder().is_dir() or os.environ.get("CI"):
        return
    needing = [item for item in items if item.get_closest_marker("corpora")]
    if needing:
        items[:] = [item for item in items if item not in needing]
        config.hook.pytest_deselected(items=needing)
