"""Losses of adversarial training: the adversary's objective, and the subnet's loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from elastic.errors import TrainingError
from trainers.methods.adversary import Objective
from trainers.methods.teacher_outputs import Answer, TeacherOutput
from trainers.robust.robust_loss import RobustLoss


def kl_divergence(
    logits: Tensor, target: Tensor, reduction: Literal["batchmean", "sum", "none"] = "batchmean"
) -> Tensor:
    """KL(p‖q), p the softmax of `target` and q that of `logits`, both `(N, classes)`; "none": by image, `(N,)`."""
    log_p, log_q = (one.to(torch.promote_types(one.dtype, torch.float32)).log_softmax(1) for one in (target, logits))
    if reduction == "none":
        return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    return F.kl_div(log_q, log_p, reduction=reduction, log_target=True)


def _cross_entropy(student: Answer, labels: Tensor) -> Objective:
    return lambda attacked: F.cross_entropy(student(attacked), labels, reduction="sum")


@torch.no_grad()
def _clean(student: Answer, images: Tensor) -> Tensor:
    return student(images)


# --- with labels ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PGDAT(RobustLoss):
    """Adversarial training: CE(x′, y), x′ maximising the same (Madry et al., 2018, arXiv:1706.06083).

    Attributes:
        targets: labels; teacher: where there is a teacher, its softmax for the image as it is takes the labels' place
            in what is minimised: robust soft labels (Zi et al., 2021, arXiv:2108.07969).
        label_smoothing: of the labels.
    """

    targets: Literal["labels", "teacher"] = "labels"
    label_smoothing: float = 0.0

    @property
    def learns_from_teacher(self) -> bool:
        """Whether it takes the teacher's answers for targets."""
        return self.targets == "teacher"

    def objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput | None) -> Objective:
        """The cross-entropy."""
        return _cross_entropy(student, labels)

    def loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput | None
    ) -> Tensor:
        """See the class."""
        if self.targets == "teacher" and teacher is not None:
            return F.cross_entropy(student(attacked), teacher.logits.softmax(1))
        return F.cross_entropy(student(attacked), labels, label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class TRADES(RobustLoss):
    """CE(x, y) + β KL(x‖x′), x′ maximising the divergence (Zhang et al., 2019, arXiv:1901.08573).

    Attributes:
        beta: what robustness weighs beside accuracy.
        targets: as for `PGDAT`.
        label_smoothing: of the labels.
    """

    beta: float = 6.0
    targets: Literal["labels", "teacher"] = "labels"
    label_smoothing: float = 0.0

    @property
    def learns_from_teacher(self) -> bool:
        """Whether it takes the teacher's answers for targets."""
        return self.targets == "teacher"

    def objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput | None) -> Objective:
        """Divergence of the prediction from that for the clean image."""
        clean = _clean(student, images)
        return lambda attacked: kl_divergence(student(attacked), clean, "sum")

    def loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput | None
    ) -> Tensor:
        """See the class."""
        clean = student(images)
        if self.targets == "teacher" and teacher is not None:
            natural = F.cross_entropy(clean, teacher.logits.softmax(1))
        else:
            natural = F.cross_entropy(clean, labels, label_smoothing=self.label_smoothing)
        return natural + self.beta * kl_divergence(student(attacked), clean)


@dataclass(frozen=True)
class MART(RobustLoss):
    """BCE(x′, y) + λ KL(x‖x′) (1 − p_y(x)), x′ maximising the cross-entropy (Wang et al., ICLR 2020).

    BCE(x′, y) = −log p_y(x′) − log(1 − max over k ≠ y of p_k(x′)): images that are misclassified already count more.

    Attributes:
        weight: λ.
    """

    weight: float = 5.0

    def objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput | None) -> Objective:
        """The cross-entropy."""
        return _cross_entropy(student, labels)

    def loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput | None
    ) -> Tensor:
        """See the class.

        Raises:
            TrainingError: mixed images, which have no one class.
        """
        _refuse_mixed(labels, "MART")
        clean, answered = student(images), student(attacked)
        probabilities = answered.softmax(1)
        true = F.one_hot(labels, answered.shape[1]).bool()
        runner_up = probabilities.masked_fill(true, 0).amax(1)
        boosted = F.cross_entropy(answered, labels) - (1.0001 - runner_up).log().mean()
        wrongly = 1 - clean.softmax(1).gather(1, labels[:, None]).squeeze(1)
        return boosted + self.weight * (wrongly * kl_divergence(answered, clean, "none")).mean()


@dataclass(frozen=True)
class HAT(RobustLoss):
    """TRADES and a helper: CE(x, y) + β KL(x‖x′) + γ CE(x + 2 (x′ − x), ỹ) (Rade and Moosavi-Dezfooli, ICLR 2022).

    ỹ is what a network that was trained without an adversary, the teacher, takes x′ for: twice as far out the label
    may well be another one, and the margin needn't be that large.

    Attributes:
        beta: β.
        gamma: γ.
    """

    attacks_teacher: ClassVar[bool] = False  # it withstands nothing: what breaks it would teach its mistakes

    beta: float = 2.5
    gamma: float = 0.5

    def objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput | None) -> Objective:
        """As of `TRADES`."""
        return TRADES().objective(student, images, labels, teacher)

    def loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput | None
    ) -> Tensor:
        """See the class.

        Raises:
            TrainingError: no teacher.
        """
        if teacher is None:
            raise TrainingError(
                "HAT needs a teacher that was trained without an adversary: a phase with NoDistiller before it and "
                "teacher: SnapshotTeacher(after: that phase), or a ModelTeacher"
            )
        with torch.no_grad():
            helper = teacher.answer(attacked).argmax(1)
        further = F.cross_entropy(student(2 * attacked - images), helper)
        return TRADES(self.beta).loss(student, images, attacked, labels, None) + self.gamma * further


def _refuse_mixed(labels: Tensor, name: str) -> None:
    if labels.is_floating_point():
        raise TrainingError(f"{name} is for labels, and mixed images have several; leave --data.mixup out")
