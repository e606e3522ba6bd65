"""Two and four processes on a batch, and one process on the whole of it."""

import itertools
from pathlib import Path

import pytest
import sharded_steps
import torch
from ranks import run_on_ranks
from sharded_steps import CASES, FITS, STATISTICS


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What every rank of every world came to."""
    return run_on_ranks(Path(sharded_steps.__file__), tmp_path_factory.mktemp("ranks"))


def check_close(one, other, tolerance=1e-7):
    """Every tensor of one dictionary and of another, compared on the second one's scale.

    They are float64, but position embeddings are resampled in float32; gradients that should be zero are noise.
    """
    assert one.keys() == other.keys()
    for name, tensor in other.items():
        scale = tensor.abs().max().clamp_min(1e-6)
        torch.testing.assert_close(
            one[name] / scale, tensor / scale, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def check_equal(one, other):
    assert one.keys() == other.keys()
    for name, tensor in other.items():
        assert torch.equal(one[name], tensor), name


@pytest.mark.parametrize("case", CASES, ids=" ".join)
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_give_the_gradient_of_one_process(results, case, world):
    key = (*case, world)
    alone, ranks = results[1, 0][key], [results[world, rank][key] for rank in range(world)]
    check_close(ranks[0]["gradients"], alone["gradients"])
    for own, buffers in zip(ranks, alone["buffers"], strict=True):
        check_equal(own["gradients"], ranks[0]["gradients"])
        check_close(own["buffers"], buffers)
        assert own["unused"] == alone["unused"] != []
        assert not any(own["gradients"][name].any() for name in own["unused"])
        assert own["sent"] == {"allreduce": 1}  # for three subnets


@pytest.mark.parametrize("family", ["mobilenet with matrices", "resnet"])
def test_the_statistics_matter(results, family):
    """Else the test above would show little."""
    wholes = [results[1, 0][family, norms, 2]["gradients"] for norms in STATISTICS]
    for one, other in itertools.pairwise(wholes):
        assert any(not torch.allclose(one[name], other[name], rtol=0.1) for name in one)


@pytest.mark.parametrize("world", [2, 4])
def test_gradients_of_several_dtypes_are_averaged_together(results, world):
    ranks = [results[world, rank]["mixed"] for rank in range(world)]
    for k, averaged in enumerate(ranks[0]["averaged"]):
        mean = torch.stack([rank["own"][k].double() for rank in ranks]).mean(0)
        torch.testing.assert_close(averaged, mean.to(averaged.dtype))
        assert all(torch.equal(rank["averaged"][k], averaged) for rank in ranks)


@pytest.mark.parametrize("name", FITS)
def test_a_fit_on_two_ranks_is_the_fit_of_one_process(results, name):
    whole, ranks = results[1, 0][name], [results[2, rank][name] for rank in range(2)]
    for step, labels in enumerate(whole["labels"]):
        shares = [rank["labels"][step] for rank in ranks]
        assert not torch.equal(*shares)
        assert sorted(torch.cat(shares).tolist()) == sorted(labels.tolist())
    for rank in ranks:
        assert rank["archs"] == whole["archs"]
        check_close(rank["gradients"], whole["gradients"])
        check_close(rank["weights"], whole["weights"])
        for part in ("gradients", "weights"):
            check_equal(rank[part], ranks[0][part])
        for sent in rank["sent"]:
            assert sent.keys() == {"allreduce", "allgather"}
            if "attack" not in name:  # one of each for every BatchNorm that ran, and one for the gradients
                assert sent["allreduce"] == sent["allgather"] + 1
