"""The lake and what is read into it and out of it."""
