"""What both planes share: contract, settings, types. Needs pydantic, filelock and the standard library."""
