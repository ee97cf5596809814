"""The event log: one port, its adapters, one conformance suite."""
