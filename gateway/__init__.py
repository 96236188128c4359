"""The service that answers users over an OpenAI-compatible API, and keeps every answer for the next night."""
