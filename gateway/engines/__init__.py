"""What computes an answer: the embedded engine, or a server with OpenAI's API."""
