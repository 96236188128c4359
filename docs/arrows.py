"""Which folder needs which: `make arrows`.

A folder, or a file in the root of a package, is one box. Prints each pair with its number of imports and one
of them, then the pairs that need each other. Exit status 1 when there is such a pair.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import grimp

PACKAGES = ("pipelines", "gateway", "nightshift")
PROJECT = Path(__file__).resolve().parents[1]


def box_of(module: str) -> str:
    """`pipelines.steps.train` lies in `pipelines/steps`, `pipelines.runner` is a box of its own."""
    parts = module.split(".")
    folder = PROJECT / ("plugins" if parts[0] == "nightshift" else ".") / Path(*parts)
    return "/".join(parts if folder.is_dir() else parts[:-1] if len(parts) > 2 else parts)


def arrows() -> dict[tuple[str, str], list[str]]:
    """(box, box that it needs) -> its imports, as `importer -> imported`."""
    graph = grimp.build_graph(*PACKAGES)
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            if (pair := (box_of(importer), box_of(imported)))[0] != pair[1]:
                found[pair].append(f"{importer} -> {imported}")
    return found


def main() -> int:
    found = arrows()
    for (box, needed), imports in sorted(found.items()):
        print(f"{box:<32} {needed:<32} {len(imports):>3}  {min(imports)}")
    both = sorted(pair for pair in found if pair[0] < pair[1] and pair[::-1] in found)
    print(f"\n{len(found)} pairs; {len(both)} need each other")
    for box, needed in both:
        back = found[needed, box]
        print(f"  {box} and {needed}: {min(found[box, needed])}; {min(back)}")
    return 1 if both else 0


if __name__ == "__main__":
    sys.exit(main())
