"""The commands of an LLM judge."""
