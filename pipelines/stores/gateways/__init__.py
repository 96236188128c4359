"""Which gateways live, and which promotion they agreed on. In PostgreSQL only; with SQLite there is one."""
