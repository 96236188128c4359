"""The evaluation suite: propose items from a log, review them, and renew a part of the suite."""
