"""Mutants of every kind of file that is read: each is read, or refused in a sentence; no code runs, no file changes.

    PYTHONPATH=tests/helpers python tests/benchmarks/mutants.py --mutants 2000

Prints a Markdown table, a row for each kind; ends with status 1 where anything else happened.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from hostile_files import Found, kinds_of, make_base, read_mutants


def main() -> int:
    """Read the mutants, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=2000, help="how many, over all kinds")
    parser.add_argument("--seed", type=int, default=0, help="draws them")
    parser.add_argument("--kind", default="", help="of this kind only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # timm says which images it passes over
    began, wrong, total = time.perf_counter(), [], 0
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        base.mkdir()
        kinds = kinds_of(make_base(base))
        chosen = {name: kind for name, kind in kinds.items() if given.kind in ("", name)}
        sys.stdout.write("| kind of file | mutants | refused | read | anything else | slowest |\n" + "|---" * 6 + "|\n")
        for name, kind in chosen.items():
            found = Found()
            read_mutants(base, Path(scratch), name, kind, -(-given.mutants // len(chosen)), given.seed, found)
            read = found.mutants - found.refused - len(found.wrong)
            counts = f"{found.mutants} | {found.refused} | {read} | {len(found.wrong)} | {found.slowest:.1f} s"
            sys.stdout.write(f"| {name} | {counts} |\n")
            sys.stdout.flush()
            wrong += found.wrong
            total += found.mutants
    sys.stdout.write(f"\n{total} mutants in {time.perf_counter() - began:.0f} s; {len(wrong)} times anything else:\n")
    sys.stdout.write("".join(f"- {line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
