"""Re-estimated statistics against those of all inputs at once."""

import pytest
import torch
from small import mobilenet
from torch import distributed, multiprocessing, nn

import elastic


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.ReLU(), nn.Dropout(0.5)).eval()


def reference(net, images):
    """Mean and unbiased variance of the convolution's outputs, over everything at once."""
    out = net[0](images).double().transpose(0, 1).flatten(1)
    return out.mean(1).float(), out.var(1).float()


@pytest.mark.parametrize("batch", [40, 8, 7])
def test_pooled_over_batches_is_all_at_once(batch):
    net, images = model(), torch.randn(40, 3, 6, 6) * 3 + torch.arange(40.0)[:, None, None, None]
    mean, variance = reference(net, images)
    elastic.recalibrate(net, images.split(batch))
    torch.testing.assert_close(net[1].running_mean, mean)
    torch.testing.assert_close(net[1].running_var, variance)
    assert net[1].momentum == 0.3
    assert not net[1].training
    assert net[1].num_batches_tracked == 0


def test_batches_may_carry_targets_and_models_without_batchnorm_are_left_alone():
    one, other, images = model(), model(), torch.randn(8, 3, 6, 6)
    elastic.recalibrate(one, [(images, torch.zeros(8))])
    elastic.recalibrate(other, [images])
    assert torch.equal(one[1].running_var, other[1].running_var)
    elastic.recalibrate(nn.Linear(3, 4), [])


def test_batches_may_be_tensors_by_name():
    class Named(nn.Sequential):
        def forward(self, pixels):
            return super().forward(pixels)

    one, images = model(), torch.randn(8, 3, 6, 6)
    other = Named(*model())
    elastic.recalibrate(one, [images])
    elastic.recalibrate(other, [{"pixels": images}])
    assert torch.equal(one[1].running_var, other[1].running_var)


def test_on_a_supernet_is_on_the_extracted_subnet():
    supernet, images = mobilenet(), torch.randn(12, 3, 32, 32)
    arch = supernet.space.sample(3)
    subnet = supernet.extract(arch)
    with supernet.active(arch):
        resized = supernet.resize(images)
        elastic.recalibrate(supernet, images.split(4))
        active = supernet(images)
    elastic.recalibrate(subnet, resized.split(4))
    assert torch.equal(subnet(resized), active)


def test_a_failure_leaves_everything_as_it_was():
    net = model().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def batches():
        yield torch.randn(4, 3, 6, 6)
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        elastic.recalibrate(net, batches())
    with pytest.raises(ValueError, match="no batches"):
        elastic.recalibrate(net, [])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training
    assert net[3].training
    assert net[1].momentum == 0.3


def _rank(rank, path, shares):
    distributed.init_process_group("gloo", init_method=f"file://{path}/rendezvous", rank=rank, world_size=2)
    net = model()
    elastic.recalibrate(net, shares[rank].split(4) if len(shares[rank]) else [])
    torch.save(net.state_dict(), f"{path}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("first", [12, 20])
def test_two_ranks_are_one_process(tmp_path, first):
    """The second may have no images at all."""
    images = torch.randn(20, 3, 6, 6)
    multiprocessing.start_processes(
        _rank, (str(tmp_path), (images[:first], images[first:])), nprocs=2, start_method="forkserver"
    )
    net = model()
    elastic.recalibrate(net, [images])
    for rank in range(2):
        for name, tensor in torch.load(tmp_path / f"{rank}.pt", weights_only=True).items():
            torch.testing.assert_close(tensor, net.state_dict()[name])
