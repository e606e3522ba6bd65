"""Drawn archs of every family of the tests: active = extracted, bit for bit, and sliced = masked, up to rounding.

    PYTHONPATH=tests/helpers python tests/benchmarks/archs.py --archs 10000

Each family's archs are drawn anew with `--seed`; a space that has fewer gives all it has. What zeros can't stand for
(blocks, resolutions, sizes that a norm spans) is full in the second comparison. Weights are random; inputs are an image
or two texts. Prints a Markdown table, a row for each kind of family; ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import discovered_families
import families
import text_families
import torch
from torch import Tensor, nn

import elastic
from elastic.support.inputs import run_model
from elastic.support.tensors import outputs_of
from elastic.testing import maskable, masked

ROUNDING = 1e-3
"""Of the largest output; wrong slices differ by more."""


@dataclass
class Found:
    """What was compared.

    Attributes:
        families: with any subnets.
        archs: drawn, all of them different within a family.
        masked: different archs that zeros can stand for.
        rounding: the largest difference between sliced and masked, as a share of the largest output.
        wrong: what differed.
    """

    families: int = 0
    archs: int = 0
    masked: int = 0
    rounding: float = 0.0
    wrong: list[str] = field(default_factory=list)


def kinds() -> dict[str, Iterator[tuple[str, Callable[[], elastic.Supernet], Any]]]:
    """By kind: each family's name, how its supernet is made, and what it takes."""
    images = ((name, case.supernet, case.images(1)) for name, case in families.CASES.items())
    texts = ((name, case.supernet, text_families.inputs(2)) for name, case in text_families.CASES.items())
    found = ((name, case.supernet, case.inputs) for name, case in discovered_families.CASES.items())
    return {"recipes, images": images, "recipes, text": texts, "discovered": found}


@torch.no_grad()
def compare(name: str, supernet: elastic.Supernet, inputs: Any, count: int, seed: int, found: Found) -> None:
    """Both comparisons of one family's archs."""
    archs = list(dict.fromkeys([supernet.space.smallest, *supernet.space.sample(seed, count - 1)]))
    seen = {supernet.space.largest}
    for arch in archs:
        with supernet.active(arch):
            taken = supernet.resize(inputs)
            active = outputs(supernet.model, taken)
        extracted = outputs(supernet.extract(arch), taken)
        if not same(active, extracted):
            found.wrong.append(f"{name}: {arch.id}: extracted isn't what was active")
        wanted = maskable(supernet, arch)
        if wanted not in seen:
            seen.add(wanted)
            found.masked += 1
            share = difference(outputs(supernet.extract(wanted), inputs), outputs(masked(supernet, wanted), inputs))
            found.rounding = max(found.rounding, share)
            if not share <= ROUNDING:
                found.wrong.append(f"{name}: {wanted.id}: sliced and masked differ by {share:.2g}")
    found.families += 1
    found.archs += len(archs)


def outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    """All tensors that a model gives."""
    return list(outputs_of(run_model(model, inputs)))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether all tensors are finite, and equal."""
    return all(a.isfinite().all() and torch.equal(a, b) for a, b in zip(one, other, strict=True))


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference, as a share of the largest value."""
    pairs = [(a.double(), b.double()) for a, b in zip(one, other, strict=True)]
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


def main() -> int:
    """Compare, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", type=int, default=10_000, help="how many, over all families")
    parser.add_argument("--seed", type=int, default=0, help="draws them")
    parser.add_argument("--family", default="", help="those whose name has this only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    chosen = {kind: [one for one in all_ if given.family in one[0]] for kind, all_ in kinds().items()}
    each = -(-given.archs // sum(map(len, chosen.values())))
    began, everything = time.perf_counter(), []
    sys.stdout.write(
        "| families | how many | archs | archs masked | largest rounding | mismatches |\n" + "|---" * 6 + "|\n"
    )
    for kind, cases in chosen.items():
        found = Found()
        for name, make, inputs in cases:
            compare(name, make(), inputs, each, given.seed, found)
        counts = f"{found.families} | {found.archs:,} | {found.masked:,} | {found.rounding:.1g} | {len(found.wrong)}"
        sys.stdout.write(f"| {kind} | {counts} |\n")
        sys.stdout.flush()
        everything.append(found)
    wrong = [line for found in everything for line in found.wrong]
    seconds, archs = time.perf_counter() - began, sum(found.archs for found in everything)
    sys.stdout.write(f"\n{archs:,} archs in {seconds:.0f} s; {len(wrong)} mismatches:\n")
    sys.stdout.write("".join(f"- {line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
