"""The ledger's migrations, oldest first. Each is frozen once it is released."""
