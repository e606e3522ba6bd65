"""Each robust loss: a hand-computed case, and the formula of its paper written out image by image."""

import math

import pytest
import torch
from torch import nn

from elastic.errors import TrainingError
from trainers import ARD, HAT, MART, PGDAT, RSLAD, TRADES, AdaAD, NoDistiller
from trainers.methods.teacher_outputs import TeacherOutput
from trainers.robust.losses import kl_divergence
from trainers.robust.robust_loss import RobustLoss

N, CLASSES = 5, 4


def softmax(logits):
    powers = [math.exp(value) for value in logits.tolist()]
    return [value / sum(powers) for value in powers]


def kl(target, logits):
    """KL(p‖q) of two rows of logits."""
    p, q = softmax(target), softmax(logits)
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def ce(logits, label):
    return -math.log(softmax(logits)[label])


def soft_ce(logits, target):
    return -sum(p * math.log(q) for p, q in zip(softmax(target), softmax(logits), strict=True))


class Scene:
    """A student and a teacher with fixed random weights, images, and attacked ones."""

    def __init__(self):
        torch.manual_seed(0)
        self.student, self.teacher = (nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES)).double() for _ in range(2))
        self.images = torch.rand(N, 3, 2, 2).double()
        self.attacked = self.images + 0.1 * torch.randn(N, 3, 2, 2).double()
        self.labels = torch.tensor([0, 3, 1, 2, 2])
        self.lesson = TeacherOutput(self.teacher(self.images).detach(), answer=self.teacher)
        with torch.no_grad():
            self.clean, self.robust = self.student(self.images), self.student(self.attacked)
            self.further = self.student(2 * self.attacked - self.images)
            self.told, self.told_attacked = self.teacher(self.images), self.teacher(self.attacked)

    def loss(self, robust_loss, taught=True):
        lesson = self.lesson if taught else None
        return robust_loss.loss(self.student, self.images, self.attacked, self.labels, lesson).item()

    def objective(self, robust_loss, taught=True):
        lesson = self.lesson if taught else None
        return robust_loss.objective(self.student, self.images, self.labels, lesson)(self.attacked).item()

    def rows(self):
        logits = (self.clean, self.robust, self.further, self.told, self.told_attacked)
        return zip(*logits, self.labels.tolist(), strict=True)


@pytest.fixture
def scene():
    return Scene()


def mart(clean, robust, label, weight):
    p = softmax(robust)
    runner_up = max(value for at, value in enumerate(p) if at != label)
    boosted = -math.log(p[label]) - math.log(1.0001 - runner_up)
    return boosted + weight * kl(clean, robust) * (1 - softmax(clean)[label])


PAPERS = {
    "pgd-at": (PGDAT(), lambda c, r, f, t, ta, y: ce(r, y), lambda c, r, t, ta, y: ce(r, y)),
    "pgd-at, soft": (PGDAT("teacher"), lambda c, r, f, t, ta, y: soft_ce(r, t), lambda c, r, t, ta, y: ce(r, y)),
    "trades": (TRADES(6), lambda c, r, f, t, ta, y: ce(c, y) + 6 * kl(c, r), lambda c, r, t, ta, y: kl(c, r)),
    "trades, soft": (
        TRADES(2, "teacher"),
        lambda c, r, f, t, ta, y: soft_ce(c, t) + 2 * kl(c, r),
        lambda c, r, t, ta, y: kl(c, r),
    ),
    "mart": (MART(5), lambda c, r, f, t, ta, y: mart(c, r, y, 5), lambda c, r, t, ta, y: ce(r, y)),
    "hat": (
        HAT(2.5, 0.5),
        lambda c, r, f, t, ta, y: ce(c, y) + 2.5 * kl(c, r) + 0.5 * ce(f, int(ta.argmax())),
        lambda c, r, t, ta, y: kl(c, r),
    ),
    "ard": (
        ARD(0.7, 5.0),
        lambda c, r, f, t, ta, y: 0.7 * 25 * kl(t / 5, r / 5) + 0.3 * ce(c, y),
        lambda c, r, t, ta, y: ce(r, y),
    ),
    "rslad": (
        RSLAD(),
        lambda c, r, f, t, ta, y: 5 / 6 * kl(t, r) + 1 / 6 * kl(t, c),
        lambda c, r, t, ta, y: kl(t, r),
    ),
    "adaad": (
        AdaAD(0.8),
        lambda c, r, f, t, ta, y: 0.8 * kl(ta, r) + 0.2 * kl(t, c),
        lambda c, r, t, ta, y: kl(ta, r),
    ),
}


@pytest.mark.parametrize("paper", PAPERS)
def test_a_loss_is_its_papers_formula(scene, paper):
    loss, formula, objective = PAPERS[paper]
    wanted = sum(formula(*row) for row in scene.rows()) / N
    assert scene.loss(loss) == pytest.approx(wanted, rel=1e-5)
    wanted = sum(objective(c, r, t, ta, y) for c, r, _, t, ta, y in scene.rows())
    assert scene.objective(loss) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("loss", [ARD(), RSLAD(), AdaAD(), ARD(alone=MART()), AdaAD(alone=PGDAT())], ids=repr)
def test_without_a_teacher_a_distiller_is_the_loss_alone(scene, loss):
    assert scene.loss(loss, taught=False) == scene.loss(loss.alone, taught=False)
    assert scene.objective(loss, taught=False) == scene.objective(loss.alone, taught=False)


def test_by_hand():
    """Two classes, logits 0 and log 3: probabilities 1/4 and 3/4; under attack 1/2 and 1/2."""
    clean, robust = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, 0.0]])
    images = torch.zeros(1, 1, 1, 1)

    def student(x):
        return clean if x is images else robust

    attacked, label = images + 0.1, torch.tensor([1])
    from_clean = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)  # KL(clean‖robust)
    trades = TRADES(6).loss(student, images, attacked, label, None)
    assert trades.item() == pytest.approx(-math.log(0.75) + 6 * from_clean, rel=1e-5)
    assert PGDAT().loss(student, images, attacked, label, None).item() == pytest.approx(math.log(2), rel=1e-5)
    mart_loss = MART(5).loss(student, images, attacked, label, None).item()
    assert mart_loss == pytest.approx(math.log(2) - math.log(0.5001) + 5 * 0.25 * from_clean, rel=1e-5)
    rslad = RSLAD().loss(student, images, attacked, label, TeacherOutput(robust)).item()
    to_clean = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)  # KL(robust‖clean)
    assert rslad == pytest.approx(to_clean / 6, rel=1e-5)  # under attack it answers as the teacher does


def test_divergence_by_image_and_in_all():
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4), torch.randn(3, 4)
    each = kl_divergence(logits, target, "none")
    assert each.tolist() == pytest.approx([kl(t, q) for t, q in zip(target, logits, strict=True)], rel=1e-4)
    assert kl_divergence(logits, target, "sum").item() == pytest.approx(each.sum().item(), rel=1e-5)
    assert kl_divergence(logits, target).item() == pytest.approx(each.mean().item(), rel=1e-5)


def test_teachers_get_no_gradient(scene):
    for loss in (ARD(), RSLAD(), AdaAD(), HAT()):
        loss.loss(scene.student, scene.images, scene.attacked, scene.labels, scene.lesson).backward()
    assert all(parameter.grad is None for parameter in scene.teacher.parameters())


def test_mixed_labels_train_where_they_can(scene):
    mixed = torch.full((N, CLASSES), 1 / CLASSES).double()
    for loss in (PGDAT(), TRADES()):
        assert loss.loss(scene.student, scene.images, scene.attacked, mixed, None).isfinite()
    with pytest.raises(TrainingError, match="mixed images"):
        MART().loss(scene.student, scene.images, scene.attacked, mixed, None)


@pytest.mark.parametrize("make", [lambda: RSLAD(alpha=1.5), lambda: ARD(temperature=0), lambda: AdaAD(alpha=-1)])
def test_bad_weights_are_refused(make):
    with pytest.raises(TrainingError, match="got"):
        make()


def test_hat_asks_for_its_helper(scene):
    with pytest.raises(TrainingError, match="SnapshotTeacher"):
        scene.loss(HAT(), taught=False)


def test_a_plain_distiller_is_not_robust():
    assert not isinstance(NoDistiller(), RobustLoss)
