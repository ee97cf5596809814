"""SQLAlchemy Core adapters of the use cases' ports."""
