"""What both planes share: contract, settings, types. Needs pydantic, filelock, jsonschema and no more."""
