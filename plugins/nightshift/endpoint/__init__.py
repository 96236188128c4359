"""The HTTP endpoint that alerts are sent to."""
