"""Hooks for the whole suite."""

from tests.support.corpora import pytest_collection_modifyitems

__all__ = ["pytest_collection_modifyitems"]
