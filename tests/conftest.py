"""Hooks and servers for the whole suite."""

from tests.support.corpora import pytest_collection_modifyitems
from tests.support.kafka import kafka, secure_kafka
from tests.support.postgres import empty_postgres_url, migrated_template, postgres, postgres_url

__all__ = [
    "empty_postgres_url",
    "kafka",
    "migrated_template",
    "postgres",
    "postgres_url",
    "pytest_collection_modifyitems",
    "secure_kafka",
]
