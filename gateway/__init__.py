"""The service that answers users: OpenAI-compatible, routed by the ledger, journalled for the next night."""
