"""The ledger: append-only tables and the hash chain over them."""
