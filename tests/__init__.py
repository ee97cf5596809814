"""Tests; they mirror the import path."""
