"""The gateway's journal: every answer and every feedback."""
