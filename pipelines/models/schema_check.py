"""Whether a grammar can be used: read from standard input, the answer on standard output, "" for yes.

It runs as a process of its own, because llguidance takes exponential time for some patterns and cannot be
stopped: this process can.
"""

from __future__ import annotations

import os
import resource
import sys

from llguidance import LLMatcher, LLParserLimits

CHECK_S = 2  # of CPU time; a large schema takes some hundredths
CHECK_BYTES = 2 << 30


def limits() -> LLParserLimits:
    """What a schema of a user may use. More would hold up everybody's tokens, or fill the memory."""
    return LLParserLimits(
        step_max_items=20_000, max_lexer_states=20_000, max_grammar_size=50_000, verbose_errors=False
    )


if __name__ == "__main__":
    os.nice(10)  # those who are being answered come first
    resource.setrlimit(resource.RLIMIT_CPU, (CHECK_S, CHECK_S))
    resource.setrlimit(resource.RLIMIT_AS, (CHECK_BYTES, CHECK_BYTES))
    print(LLMatcher.validate_grammar(sys.stdin.read(), limits=limits()), end="")
