import pytest
import torch
from torch import nn

from elastic.errors import TrainingError
from trainers import NoDistiller, SoftTargets
from trainers.methods.distillers import AlphaDivergence, alpha_divergence


def tensors():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    return logits, teacher, torch.randint(5, (6,), generator=generator)


def smoothed(logits, labels, smoothing):
    """Cross-entropy with smoothed labels, image by image and class by class."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        for k in range(len(row)):
            target = smoothing / len(row) + (1 - smoothing) * (k == label)
            total -= target * row.log_softmax(0)[k]
    return total / len(logits)


def test_without_a_teacher_the_labels_are_smoothed():
    logits, _, labels = tensors()
    for distiller in (SoftTargets(label_smoothing=0.1), AlphaDivergence(label_smoothing=0.1)):
        torch.testing.assert_close(distiller.loss(logits, labels, None), smoothed(logits, labels, 0.1))


def test_soft_targets_are_the_teachers_probabilities():
    logits, teacher, labels = tensors()
    obvious = -sum(p.softmax(0) @ q.log_softmax(0) for p, q in zip(teacher, logits, strict=True)) / 6
    torch.testing.assert_close(SoftTargets().loss(logits, labels, teacher), obvious)
    both = SoftTargets(label_smoothing=0.2, teacher_weight=0.5, label_weight=2.0)
    torch.testing.assert_close(both.loss(logits, labels, teacher), 0.5 * obvious + 2 * smoothed(logits, labels, 0.2))


def test_temperature_keeps_the_size_of_the_gradient():
    logits, teacher, labels = tensors()
    hot = SoftTargets(temperature=50.0)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(hot.loss(logits, labels, teacher), logits)
    # at high temperature, soft targets match centred logits (Hinton et al., 2015, section 2.1)
    matching = (logits - logits.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    torch.testing.assert_close(gradient, matching.detach() / 5 / 6, rtol=0.1, atol=2e-3)


@pytest.mark.parametrize("alpha", [-1.0, 0.5, 1.0, 2.0])
def test_divergence_is_its_definition(alpha):
    logits, teacher, _ = tensors()
    p, q = teacher.softmax(1), logits.softmax(1)
    slow = (p * (p / q).log()).sum(1) if alpha == 1 else (q * ((p / q) ** alpha - 1)).sum(1) / (alpha * (alpha - 1))
    torch.testing.assert_close(alpha_divergence(p.log(), q.log(), alpha), slow)


def test_of_each_example_the_larger_divergence_is_trained():
    logits, teacher, labels = (one.float() if one.is_floating_point() else one for one in tensors())
    scale = torch.tensor([0.1, 3.0]).repeat(3)[:, None]  # teachers that are less sure than the student, and surer ones
    teacher, logits = scale * teacher, (logits / scale).requires_grad_()
    loss = AlphaDivergence(clip=float("inf")).loss(logits, labels, teacher)
    (gradient,) = torch.autograd.grad(loss, logits)
    total, chosen = torch.zeros(()), set()
    for p, q in zip(teacher[:, None], logits[:, None], strict=True):
        values = [alpha_divergence(p.log_softmax(1), q.log_softmax(1), alpha) for alpha in (-1.0, 1.0)]
        total = total + max(values).squeeze() / 6
        chosen.add(values[0].item() > values[1].item())
    assert chosen == {True, False}
    torch.testing.assert_close(loss, total)
    torch.testing.assert_close(gradient, torch.autograd.grad(total, logits)[0])


def test_a_clipped_ratio_bounds_the_gradient():
    logits = torch.tensor([[12.0, -12.0]]).requires_grad_()
    teacher = torch.tensor([[-12.0, 12.0]])
    loss = AlphaDivergence(alpha_plus=2.0, clip=5.0).loss(logits, torch.tensor([0]), teacher)
    assert torch.autograd.grad(loss, logits)[0].abs().max() <= 5
    assert loss.isfinite()
    # that of KL is bounded anyway: a student that is wrong and sure of it learns
    kl = AlphaDivergence(clip=5.0).loss(logits, torch.tensor([0]), teacher)
    (gradient,) = torch.autograd.grad(kl, logits)
    torch.testing.assert_close(gradient, (logits.softmax(1) - teacher.softmax(1)).detach())
    with pytest.raises(TrainingError, match="alphas are other than 0 and clip is above 0; got 0"):
        AlphaDivergence(alpha_minus=0)
    with pytest.raises(TrainingError, match="temperature is a number above 0, got 0"):
        SoftTargets(temperature=0)


def test_mixed_labels_are_probabilities():
    logits, teacher, labels = tensors()
    hot = nn.functional.one_hot(labels, 5).double()
    for distiller in (SoftTargets(label_weight=1.0), NoDistiller(0.1), AlphaDivergence()):
        for given in (None, teacher):
            torch.testing.assert_close(distiller.loss(logits, hot, given), distiller.loss(logits, labels, given))


def test_no_distiller_ignores_the_teacher():
    logits, teacher, labels = tensors()
    for given in (None, teacher):
        torch.testing.assert_close(NoDistiller(0.2).loss(logits, labels, given), smoothed(logits, labels, 0.2))
