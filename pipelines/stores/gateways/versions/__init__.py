"""The migrations of the gateways' tables on PostgreSQL, oldest first. Each is frozen once it is released."""
