"""The event log on SQLite, for one machine: a writer thread, readers in any process, group positions apart."""
