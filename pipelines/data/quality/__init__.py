"""The data contract and how rows are held against it."""
