"""The gateway's journal: every answer and all feedback, in SQLite. Needs the standard library and core."""
