"""An LLM that compares written answers."""

from __future__ import annotations

from pydantic import Field, JsonValue, model_validator

from pipelines.core.config.base import (
    Count,
    OpenShare,
    Positive,
    PositiveFloat,
    Section,
    ServerAddress,
    Share,
)

RUBRIC = """The better answer does what the user asked for, is right, leaves out nothing that matters,
and invents nothing. Between two such answers, the clearer one is better."""


class Judge(Section):
    """`[judge]`: an LLM compares production's answers with the candidate's. It counts only while proved."""

    url: ServerAddress = ""  # a server with OpenAI's API, with or without /v1; empty: no judge
    model: str = ""  # its name there
    api_key_file: str = ""  # a file with the bearer token
    rubric: str = RUBRIC  # what makes an answer better, in your words
    # What else each request's body holds. A reasoning model may need {max_completion_tokens = 4000} instead.
    body: dict[str, JsonValue] = Field(default={"temperature": 0, "max_tokens": 400})
    max_requests: Count = 1_000  # of one evaluation, retries included; two a pair. More pairs are not judged
    max_duration_s: PositiveFloat = 1_200.0  # of one evaluation; pairs that are left then are not judged
    concurrency: Positive = 4  # requests at once
    timeout_s: PositiveFloat = 60.0  # of one request
    attempts: Positive = 4  # of one request, where the server is busy, broken or away
    backoff_s: PositiveFloat = 1.0  # before the second attempt; it doubles, up to 30 s
    # What proves it: choices that people made between two answers, each asked in both orders.
    window_days: Positive = 60  # older choices do not count
    max_choices: Positive = 200  # that are asked, drawn by the seed
    choices_per_person: Positive = 5  # at most, once 10 people made some
    min_agreement: OpenShare = 0.6  # of judge and people, at least
    # The same where people chose the longer answer, where they chose the shorter one, and in the half of
    # choices whose two answers are most alike.
    min_agreement_in_parts: OpenShare = 0.55
    max_position_bias: OpenShare = 0.3  # how much oftener it may take the first answer than the second
    # By how much its agreement may differ between choices of the longer and of the shorter answer.
    max_length_bias: OpenShare = 0.3
    max_unreadable: Share = 0.1  # of its verdicts
    alpha: OpenShare = 0.05  # error rate of each of these limits

    @property
    def is_on(self) -> bool:
        return bool(self.url)

    @model_validator(mode="after")
    def _has_a_model(self) -> Judge:
        if self.url and not self.model:
            raise ValueError("judge.url is set, and judge.model is not: name the model that judges")
        if self.url and not self.rubric.strip():
            raise ValueError("judge.rubric is blank: say what makes an answer better")
        return self
