"""From an ADT event to a follow-up task that a person works."""
