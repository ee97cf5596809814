"""What PostgreSQL does so much otherwise than SQLite that it is not the same statement: the import of a panel."""
