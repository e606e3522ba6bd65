"""Runs a file's `on_rank(rank, world)` alone, on two ranks and on four, all in one start."""

import multiprocessing
import os
import runpy
from datetime import timedelta
from pathlib import Path

import torch
from forked import run_program
from torch import distributed
from torch.utils._python_dispatch import TorchDispatchMode

WORLDS = (1, 2, 4)


def run_on_ranks(file, folder):
    """What each rank returned, by (world, rank)."""
    run_program("import ranks, sys; ranks.main(*sys.argv[1:])", str(file), str(folder))
    pairs = [(world, rank) for world in WORLDS for rank in range(world)]
    return {(w, r): torch.load(Path(folder) / f"{w}-{r}.pt", weights_only=True) for w, r in pairs}


class Collectives(TorchDispatchMode):
    """Counts what is sent between ranks within the block, whoever sends it."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "c10d":
            name = func._opname.strip("_")
            self.counts[name] = self.counts.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


def _work(on_rank, rank, world, folder):
    if world > 1:
        os.environ["LOCAL_RANK"] = str(rank)  # Lightning starts no processes of its own then
        store = f"file://{folder.resolve()}/store-{world}"
        distributed.init_process_group("gloo", store, timedelta(minutes=1), rank=rank, world_size=world)
    torch.save(on_rank(rank, world), folder / f"{world}-{rank}.pt")


def main(file, folder):
    """Fork the ranks, each of which writes what it returns to FOLDER/WORLD-RANK.pt."""
    on_rank = runpy.run_path(file)["on_rank"]
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=_work, args=(on_rank, r, w, Path(folder))) for w in WORLDS for r in range(w)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert not any(process.exitcode for process in ranks)
