"""Pure decisions: numpy and the standard library, no I/O, no clock, no vendor."""
