"""`nightshift judge prove`: ask the judge about people's choices, and print how it compares with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from rich.console import Console
from rich.table import Table

from pipelines.core.config import Config, Judge
from pipelines.core.errors import InputError
from pipelines.core.facts.common import Interval
from pipelines.core.facts.judge import JudgeProof
from pipelines.evaluation.judges.client import Budget
from pipelines.evaluation.judges.proof import prove_judge
from pipelines.operations.inspect.printable import printable


def require_judge(config: Config) -> None:
    """Raises InputError for a profile without a judge."""
    if not config.judge.is_on:
        raise InputError(
            f"The profile {config.profile} has no judge.",
            'Set judge.url and judge.model, such as judge.url = "https://host/v1".',
        )


def print_proof(config: Config, night: date, as_json: bool) -> int:
    """Prove the judge as of a night, keep the proof, and print it. Raises InputError without a judge."""
    require_judge(config)
    budget = Budget(config.judge)
    proof, asked = prove_judge(config, night, budget)
    if as_json:
        print(proof.model_dump_json(indent=1))
        return 0
    console = Console(highlight=False, markup=False)
    console.print(_headline(config.judge, proof))
    console.print(_table(config.judge, proof))
    for words in proof.lacks:
        console.print(f"Not proved: {printable(words)}.")
    if proof.unjudged:
        console.print(f"{proof.unjudged} choices were not judged: {printable(asked.stopped)}.")
    tokens = f"{budget.tokens_in:,} tokens in, {budget.tokens_out:,} out"
    console.print(f"{budget.requests} requests ({tokens}); {asked.kept} replies were kept from before.")
    return 0


def _headline(judge: Judge, proof: JudgeProof) -> str:
    word = "counts" if proof.is_proved else "does not count"
    people = f"{proof.choices} choices of {proof.people} people"
    return f"{judge.model} {word} as of {proof.night}: {people} from {proof.window_days} days\n"


def _table(judge: Judge, proof: JudgeProof) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for name in ("found", "limits", "asked for"):
        table.add_column(name, justify="right")
    for row in _rows(judge, proof):
        table.add_row(*row)
    return table


def _rows(judge: Judge, proof: JudgeProof) -> Iterator[tuple[str, str, str, str]]:
    in_parts = f"over {judge.min_agreement_in_parts:.0%}"
    agreements = (
        ("agrees with people", proof.agreement, f"over {judge.min_agreement:.0%}"),
        ("where they chose the longer answer", proof.on_longer, in_parts),
        ("where they chose the shorter answer", proof.on_shorter, in_parts),
        ("where the two answers are most alike", proof.on_alike, in_parts),
    )
    for name, share, least in agreements:
        if share:
            yield name, f"{share.value:.0%}", f"{share.low:.0%} to {share.high:.0%}", least
    for name, bias, most in (
        ("prefers the first answer by", proof.position_bias, judge.max_position_bias),
        ("prefers the longer answer by", proof.length_bias, judge.max_length_bias),
    ):
        if bias:
            yield name, f"{bias.value:+.2f}", _between(bias), f"within {most:g}"
    asked = proof.choices + proof.unreadable
    unread = f"{proof.unreadable} of {asked}"
    yield "verdicts that could not be read", unread, "", f"up to {judge.max_unreadable:.0%}"


def _between(bias: Interval) -> str:
    return f"{bias.low:+.2f} to {bias.high:+.2f}"
