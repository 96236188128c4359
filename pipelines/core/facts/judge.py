"""What an LLM judge said of the candidate, and whether it has proved itself. No text of a person is in it."""

from __future__ import annotations

from datetime import date

from pydantic import NonNegativeInt

from pipelines.core.facts.common import Interval
from pipelines.core.facts.reading import Part


class JudgeProof(Part):
    """How a judge compares with people's choices between two answers. Shares are None without any.

    Each interval has one-sided limits. Agreements lie in [0, 1], where a tie counts half: of all choices, of
    those in which people chose the longer answer, the shorter one, and of the half whose answers are most
    alike. `position_bias` is how much oftener it takes the first answer than the second, `length_bias` how
    much more it agrees with choices of the longer answer than with those of the shorter.
    """

    digest: str  # of model, prompt, rubric and settings, and of the choices
    night: date
    window_days: NonNegativeInt
    choices: NonNegativeInt  # with a verdict
    people: NonNegativeInt
    unreadable: NonNegativeInt = 0
    unjudged: NonNegativeInt = 0  # because the requests or the time ended, or the server did not answer
    agreement: Interval | None = None
    on_longer: Interval | None = None
    on_shorter: Interval | None = None
    on_alike: Interval | None = None
    position_bias: Interval | None = None
    length_bias: Interval | None = None
    lacks: tuple[str, ...] = ()  # what is not proved, in words

    @property
    def is_proved(self) -> bool:
        return not self.lacks


class JudgeFacts(Part):
    """Pairs of answers to the same question, by whose answer the judge finds better in both orders.

    `tied` counts equal answers too, of which it is not asked. `words` are about items of the suite only.
    """

    model: str
    proof: JudgeProof
    won: NonNegativeInt  # by the candidate
    lost: NonNegativeInt
    tied: NonNegativeInt
    unreadable: NonNegativeInt = 0
    unjudged: NonNegativeInt = 0
    max_unreadable: float = 1.0  # share, above which the judge does not count
    net_win: Interval | None = None  # won minus lost, as a share of the pairs with a verdict
    stopped: str = ""  # why pairs were left unjudged
    words: tuple[str, ...] = ()

    @property
    def judged(self) -> int:
        return self.won + self.lost + self.tied

    @property
    def is_readable(self) -> bool:
        """Whether few enough verdicts could not be read."""
        return self.unreadable <= self.max_unreadable * (self.judged + self.unreadable)


class JudgeCost(Part):
    """What a judge was asked. Another run asks less, as verdicts are kept."""

    requests: NonNegativeInt
    kept: NonNegativeInt  # replies of earlier runs
    tokens_in: NonNegativeInt
    tokens_out: NonNegativeInt
