"""Limits of the data contract, for those who need them without Great Expectations, which is slow to load."""

LONGEST = {"request_id": 200, "tenant": 200, "subject_id": 200, "adapter": 200, "channel": 64}  # characters
PROMPTING = ("user", "tool")  # whose turn is answered
LANGUAGE = r"^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*$"  # the form of a BCP 47 tag
MOST_TOKENS = 10_000_000
