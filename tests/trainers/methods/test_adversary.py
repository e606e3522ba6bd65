"""The adversary: against hand-computed optima and a slow loop, in the ball, in [0, 1], and what it refuses."""

import math

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import elastic
from elastic.errors import TrainingError
from trainers import Adversary
from trainers.methods.adversary import (
    check_attackable,
    check_pixels,
    check_radius,
    number,
    project,
    seeded,
    under_attack,
)

SHAPE = (4, 3, 5, 5)


def linear(attacked):
    """Σ w x, with weights of both signs: the optimum in a ball is known."""
    return (WEIGHTS * attacked).sum()


WEIGHTS = torch.linspace(-1, 1, 75).view(1, 3, 5, 5)


def lengths(tensors):
    return tensors.flatten(1).norm(dim=1)


@pytest.mark.parametrize("start", ["uniform", "normal", "image"])
def test_a_linear_objective_is_maximised_exactly(start):
    images = torch.full(SHAPE, 0.5)
    attacked = Adversary(epsilon=0.1, steps=10, step_size=0.05, start=start).perturb(images, linear, seeded(0))
    torch.testing.assert_close(attacked, 0.5 + 0.1 * WEIGHTS.sign().expand(SHAPE))
    round_one = Adversary("l2", 0.3, steps=40, step_size=0.1, start=start).perturb(images, linear, seeded(0))
    torch.testing.assert_close(round_one, (0.5 + 0.3 * WEIGHTS / WEIGHTS.norm()).expand(SHAPE), atol=1e-3, rtol=0)


def test_one_large_step_from_the_image_is_fgsm():
    images, target = torch.rand(SHAPE), torch.rand(SHAPE)

    def objective(attacked):
        return (attacked - target).square().sum()

    attacked = Adversary(epsilon=0.07, steps=1, step_size=0.07, start="image").perturb(images, objective)
    torch.testing.assert_close(attacked, (images + 0.07 * (images - target).sign()).clamp(0, 1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_is_the_plain_loop(norm):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 16), nn.Tanh(), nn.Linear(16, 10))
    images, labels = torch.rand(SHAPE), torch.arange(4)
    adversary = Adversary(norm, 0.2, steps=5, step_size=0.06)

    def objective(attacked):
        return F.cross_entropy(model(attacked), labels, reduction="sum")

    found = adversary.perturb(images, objective, seeded(3))
    for at in range(len(images)):  # image by image: nobody's gradient depends on another one's
        x = images[at : at + 1]
        delta = adversary._start(images, 0.2, seeded(3))[at : at + 1]
        for _ in range(5):
            moved = (x + delta).clamp(0, 1).requires_grad_()
            F.cross_entropy(model(moved), labels[at : at + 1]).backward()
            if norm == "linf":
                delta = (moved.detach() + 0.06 * moved.grad.sign() - x).clamp(-0.2, 0.2)
            else:
                delta = moved.detach() + 0.06 * moved.grad / moved.grad.norm() - x
                delta = delta * min(1.0, 0.2 / delta.norm().item())
        torch.testing.assert_close(found[at : at + 1], (x + delta).clamp(0, 1), atol=1e-5, rtol=1e-4)
    assert objective(found) > objective(images)


def test_a_uniform_start_fills_its_ball_evenly():
    """Of points in a ball, the share within s radii is s^d; and none of the directions is preferred."""
    images, adversary = torch.zeros(20_000, 1, 1, 3), Adversary("l2", 0.5)
    start = adversary._start(images, 0.5, seeded(0))
    reached = lengths(start) / 0.5
    assert reached.max() <= 1 + 1e-6
    for share in (0.3, 0.5, 0.8, 0.95):
        assert (reached <= share).float().mean() == pytest.approx(share**3, abs=0.01)
    fourth = (start.flatten(1) / lengths(start)[:, None]).pow(4).mean(0)  # 1/5 on a sphere; less from a cube's corners
    torch.testing.assert_close(fourth, torch.full((3,), 0.2), atol=0.005, rtol=0)
    square = 0.5 * (2 * torch.rand(SHAPE, generator=seeded(7)) - 1)
    assert torch.equal(Adversary(epsilon=0.5)._start(torch.zeros(SHAPE), 0.5, seeded(7)), square)


@given(
    norm=st.sampled_from(["linf", "l2"]),
    epsilon=st.floats(0.01, 1),
    steps=st.integers(1, 4),
    step_size=st.floats(0.001, 2),
    start=st.sampled_from(["uniform", "normal", "image"]),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_attacked_images_stay_in_the_ball_and_in_range(norm, epsilon, steps, step_size, start, share, seed):
    images = torch.rand(SHAPE, generator=seeded(seed))
    adversary = Adversary(norm, epsilon, steps, step_size, start)
    attacked = adversary.perturb(images, linear, seeded(seed), share)
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    far = (attacked - images).abs().max() if norm == "linf" else lengths(attacked - images).max()
    assert far <= share * epsilon + 1e-6
    assert torch.equal(attacked, adversary.perturb(images, linear, seeded(seed), share))


def test_projection_is_the_nearest_point():
    perturbation = torch.tensor([[[[3.0, 4.0]]], [[[0.3, 0.4]]]])
    torch.testing.assert_close(project(perturbation, 1.0, "l2"), torch.tensor([[[[0.6, 0.8]]], [[[0.3, 0.4]]]]))
    torch.testing.assert_close(project(perturbation, 0.35, "linf"), torch.tensor([[[[0.35, 0.35]]], [[[0.3, 0.35]]]]))


def test_the_ball_grows_while_it_warms_up():
    adversary = Adversary(warmup_epochs=4)
    assert [adversary.warm(epoch) for epoch in (0, 1, 2.5, 4, 9)] == [0, 0.25, 0.625, 1, 1]
    assert Adversary().warm(0) == 1


def test_fractions_are_numbers():
    assert number("8/255") == pytest.approx(8 / 255)
    assert Adversary().radius == pytest.approx(8 / 255)
    assert number(0.1) == 0.1


# --- what is attacked -----------------------------------------------------------------------------------------


def test_under_attack_statistics_stay_and_are_not_asked():
    torch.manual_seed(0)
    supernet = elastic.elasticize(
        timm.create_model("resnet18", num_classes=10, channels=(8, 16, 16, 24), drop_rate=0.5), input_size=(3, 32, 32)
    ).train()
    images = torch.rand(8, 3, 32, 32)
    before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    with under_attack(supernet.model):
        logits = supernet(images)
        for buffer in supernet.buffers():
            if buffer.is_floating_point():
                buffer.fill_(7.0)  # another subnet's
        assert torch.equal(supernet(images), logits)  # nor is there any dropout
        for name, buffer in supernet.named_buffers():
            buffer.copy_(before[name])
    assert all(torch.equal(buffer, before[name]) for name, buffer in supernet.named_buffers())
    supernet(images)
    assert not torch.equal(supernet.get_buffer("model.bn1.running_mean"), before["model.bn1.running_mean"])


def test_a_finished_model_is_deceived_in_inference_mode_and_stays_as_it_is():
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=10, channels=(8, 16, 16, 24), in_chans=1).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        images, labels = torch.rand(6, 1, 32, 32), torch.arange(6)
        attacked = Adversary(steps=3).deceive(model, images, labels, seeded(0))
        assert F.cross_entropy(model(attacked), labels) > F.cross_entropy(model(images), labels)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epsilon": 8}, r"ε = 8 .*8 of 255 is 8/255"),
        ({"epsilon": 0}, "wanted 0 < ε"),
        ({"epsilon": "eight"}, "neither a number nor a fraction"),
        ({"epsilon": "1/0"}, "neither a number nor a fraction"),
        ({"steps": 0}, "1 or more"),
        ({"step_size": 0}, "step_size is above 0"),
        ({"warmup_epochs": -1}, "0 or more"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(TrainingError, match=words):
        Adversary(**options)


def test_a_ball_larger_than_all_images_is_refused():
    with pytest.raises(TrainingError, match=r"128 of 255 is 128/255"):
        check_radius(128, "l2", pixels=3 * 32 * 32)
    check_radius(math.sqrt(3072) - 0.1, "l2", pixels=3072)


def test_images_that_are_normalised_outside_are_refused():
    with pytest.raises(TrainingError, match="belongs into the model"):
        check_pixels(torch.randn(4, 3, 8, 8))
    with pytest.raises(TrainingError, match=r"images between 0 and 255"):
        check_pixels(torch.tensor([0.0, 255.0]).view(1, 1, 1, 2))
    with pytest.raises(TrainingError, match=r"wanted|images \(N, C, H, W\)"):
        check_pixels({"input_ids": torch.zeros(2, 3)})
    check_pixels(torch.rand(4, 3, 8, 8))


def test_a_model_in_training_mode_is_not_attacked():
    model = nn.Linear(2, 2)
    with pytest.raises(TrainingError, match=r"model\.eval\(\)"):
        check_attackable(model)
    with pytest.raises(TrainingError, match=r"model\.eval\(\)"):
        Adversary().deceive(model, torch.rand(2, 1, 1, 2), torch.zeros(2, dtype=torch.int64))
