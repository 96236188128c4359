"""The migrations of the journal on PostgreSQL, oldest first. Each is frozen once it is released."""
