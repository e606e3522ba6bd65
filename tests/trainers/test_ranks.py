"""Two processes on a batch, and one process on the whole of it."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_steps.py")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What both ranks saw and ended with, by family."""
    folder = tmp_path_factory.mktemp("ranks")
    # torchrun, on a port of its own choice
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(folder)]
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {
        family: [torch.load(folder / f"{family}-{rank}.pt", weights_only=True) for rank in range(2)]
        for family in ("vit", "cnn")
    }


@pytest.mark.parametrize(
    ("family", "kinds"), [("vit", {"depth", "embed", "heads", "hidden"}), ("cnn", {"depth", "kernel", "mid", "width"})]
)
def test_two_ranks_give_the_gradient_of_one_on_the_whole_batch(two_ranks, family, kinds):
    whole, _ = runpy.run_path(str(SCRIPT))["train"](family)
    assert kinds <= set(whole["kinds"])
    one, other = two_ranks[family]
    for step, labels in enumerate(whole["labels"]):
        shares = one["labels"][step], other["labels"][step]
        assert not torch.equal(*shares)
        assert sorted(torch.cat(shares).tolist()) == sorted(labels.tolist())
    assert one["archs"] == other["archs"] == whole["archs"]
    for part, tolerance in (("gradients", 1e-5), ("weights", 1e-6)):
        assert one[part].keys() == other[part].keys() == whole[part].keys()
        for name, tensor in whole[part].items():
            assert torch.equal(one[part][name], other[part][name]), name
            scale = float(tensor.abs().max()) + 1e-12
            torch.testing.assert_close(
                one[part][name] / scale, tensor / scale, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
            )
