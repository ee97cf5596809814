"""Tests of the embedded event log."""
