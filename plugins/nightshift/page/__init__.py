"""The page *Model loop*."""
