"""The evaluation suite: propose items from a log."""
