"""Prints one profile made of several: merge.py FILE... puts the lines of equal tables below one header."""

import sys
from collections import defaultdict
from pathlib import Path

LEFT_OUT = {
    "",
    "[task]",
    "[register]",
    "[watch]",
}  # of all files but the first; "" is what stands above the tables


def sections(text: str) -> list[tuple[str, str]]:
    """(header, lines) in their order; the header is "" before the first one."""
    found = [("", "")]
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            found.append((line.split("#")[0].strip(), ""))
        else:
            header, lines = found[-1]
            found[-1] = (header, lines + line)
    return found


tables: dict[tuple[str, int], str] = defaultdict(str)
for place, name in enumerate(sys.argv[1:]):
    for number, (header, lines) in enumerate(sections(Path(name).read_text("utf-8"))):
        if place and header in LEFT_OUT:
            continue
        is_one_of_many = header.startswith("[[")
        tables[header, 1000 * place + number if is_one_of_many else 0] += lines
for (header, _), lines in tables.items():
    print(f"{header}\n{lines}".strip(), end="\n\n")
