"""Afterstay's services: ingest (MLLP to event log) and followup (event log to worklist)."""
