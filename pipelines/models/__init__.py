"""Base models, adapters, training, and the registry."""
