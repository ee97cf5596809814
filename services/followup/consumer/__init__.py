"""Event log to use cases: an engine-neutral handler and the loops that feed it."""
