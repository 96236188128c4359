"""An LLM that compares two written answers, through any server with OpenAI's API."""
