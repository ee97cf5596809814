"""Migrations: forward only, run by Alembic through `store.migrate`."""
