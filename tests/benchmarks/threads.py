"""Threads that activate subnets of one supernet at once: each gets its own subnet's numbers, bit for bit.

    PYTHONPATH=tests/helpers python tests/benchmarks/threads.py --threads 8 --switches 10000

Every output is compared with that of the subnet cut out beforehand. Prints a Markdown table, a row for each family;
ends with status 1 where any differs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import torch
from small import FAMILIES

import elastic
from elastic import Arch

ARCHS = 24
"""Different ones, of each family."""


def switches(supernet: elastic.Supernet, wanted: dict[Arch, torch.Tensor], count: int, seed: int) -> int:
    """Activate drawn subnets one after the other.

    Returns:
        How many outputs weren't those wanted.
    """
    draw, archs, wrong = random.Random(seed), list(wanted), 0
    images = torch.ones(1, 3, 32, 32)
    for _ in range(count):
        arch = draw.choice(archs)
        with torch.no_grad(), supernet.active(arch):
            wrong += not torch.equal(supernet(images), wanted[arch])
    return wrong


def main() -> int:
    """Switch, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=8, help="that share a supernet")
    parser.add_argument("--switches", type=int, default=10_000, help="of each family, over all threads")
    parser.add_argument("--seed", type=int, default=0, help="draws the subnets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sys.stdout.write("| supernet | threads | switches | wrong outputs | seconds |\n" + "|---" * 5 + "|\n")
    total, images = 0, torch.ones(1, 3, 32, 32)
    for name, make in FAMILIES.items():
        supernet, began = make(), time.perf_counter()
        with torch.no_grad():
            archs = supernet.space.sample(given.seed, ARCHS)
            wanted = {arch: supernet.extract(arch)(_resized(supernet, arch, images)) for arch in archs}
        each = -(-given.switches // given.threads)
        with ThreadPoolExecutor(given.threads) as pool:
            jobs = [pool.submit(switches, supernet, wanted, each, given.seed + k) for k in range(given.threads)]
            wrong = sum(job.result() for job in jobs)
        seconds = time.perf_counter() - began
        sys.stdout.write(f"| {name} | {given.threads} | {each * given.threads:,} | {wrong} | {seconds:.0f} |\n")
        total += wrong
    return 1 if total else 0


def _resized(supernet: elastic.Supernet, arch: Arch, images: torch.Tensor) -> torch.Tensor:
    with supernet.active(arch):
        return supernet.resize(images)


if __name__ == "__main__":
    sys.exit(main())
