"""Robust distillation: students that learn from a robust teacher, under attack."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from elastic.errors import TrainingError
from trainers.methods.adversary import Objective
from trainers.methods.teacher_outputs import Answer, TeacherOutput
from trainers.robust.losses import PGDAT, TRADES, kl_divergence
from trainers.robust.robust_loss import RobustLoss


class _Distilled(RobustLoss):
    """Distillation where there is a teacher, and the loss `alone` where there is none."""

    alone: RobustLoss

    @property
    def learns_from_teacher(self) -> bool:
        """Always."""
        return True

    def objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput | None) -> Objective:
        """The objective that the adversary maximises."""
        if teacher is None:
            return self.alone.objective(student, images, labels, None)
        return self._objective(student, images, labels, teacher)

    def loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput | None
    ) -> Tensor:
        """See the class."""
        if teacher is None:
            return self.alone.loss(student, images, attacked, labels, None)
        return self._loss(student, images, attacked, labels, teacher)

    @abstractmethod
    def _objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput) -> Objective: ...

    @abstractmethod
    def _loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput
    ) -> Tensor: ...


@dataclass(frozen=True)
class ARD(_Distilled):
    """α T² KL(T(x)‖S(x′)) + (1 − α) CE(S(x), y), at temperature T; x′ maximising CE(S(x′), y).

    Adversarially Robust Distillation (Goldblum et al., AAAI 2020, arXiv:1905.09747). T(x) is the teacher's answer for
    the image as it is, S the student's.

    Attributes:
        alpha: of the teacher, beside the labels.
        temperature: softens both distributions; 30 in the paper's code.
        alone: the loss where there is no teacher (yet); the largest subnet's, where it teaches in place.
    """

    alpha: float = 1.0
    temperature: float = 30.0
    alone: RobustLoss = field(default_factory=TRADES)

    def __post_init__(self) -> None:
        _check_share(self.alpha, "ARD")
        if self.temperature <= 0:
            raise TrainingError(f"ARD: temperature is a number above 0, got {self.temperature}")

    def _objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput) -> Objective:
        return PGDAT().objective(student, images, labels, None)

    def _loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput
    ) -> Tensor:
        soft = kl_divergence(student(attacked) / self.temperature, teacher.logits / self.temperature)
        loss = self.alpha * self.temperature**2 * soft
        if self.alpha < 1:
            loss = loss + (1 - self.alpha) * F.cross_entropy(student(images), labels)
        return loss


@dataclass(frozen=True)
class RSLAD(_Distilled):
    """α KL(T(x)‖S(x′)) + (1 − α) KL(T(x)‖S(x)), x′ maximising KL(T(x)‖S(x′)): no labels.

    Robust Soft Label Adversarial Distillation (Zi et al., ICCV 2021, arXiv:2108.07969); ProARD's default.

    Attributes:
        alpha: of the attacked images, beside those as they are.
        alone: the loss where there is no teacher (yet); the largest subnet's, where it teaches in place.
    """

    alpha: float = 5 / 6
    alone: RobustLoss = field(default_factory=TRADES)

    def __post_init__(self) -> None:
        _check_share(self.alpha, "RSLAD")

    def _objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput) -> Objective:
        return lambda attacked: kl_divergence(student(attacked), teacher.logits, "sum")

    def _loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput
    ) -> Tensor:
        robust, natural = (kl_divergence(student(one), teacher.logits) for one in (attacked, images))
        return self.alpha * robust + (1 - self.alpha) * natural


@dataclass(frozen=True)
class AdaAD(_Distilled):
    """α KL(T(x′)‖S(x′)) + (1 − α) KL(T(x)‖S(x)), x′ maximising KL(T(x′)‖S(x′)).

    Adaptive Adversarial Distillation (Huang et al., CVPR 2023): the teacher is attacked, too, and answers for what the
    student sees. Each step of the attack runs both networks.

    Attributes:
        alpha: of the attacked images, beside those as they are.
        alone: the loss where there is no teacher (yet); the largest subnet's, where it teaches in place.
    """

    attacks_teacher: ClassVar[bool] = False  # it never differs from itself
    alpha: float = 1.0
    alone: RobustLoss = field(default_factory=TRADES)

    def __post_init__(self) -> None:
        _check_share(self.alpha, "AdaAD")

    def _objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput) -> Objective:
        return lambda attacked: kl_divergence(student(attacked), teacher.answer(attacked), "sum")

    def _loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput
    ) -> Tensor:
        loss = self.alpha * kl_divergence(student(attacked), teacher.answer(attacked).detach())
        if self.alpha < 1:
            loss = loss + (1 - self.alpha) * kl_divergence(student(images), teacher.logits)
        return loss


def _check_share(alpha: float, name: str) -> None:
    if not 0 <= alpha <= 1:
        raise TrainingError(f"{name}: alpha is a share between 0 and 1, got {alpha}")
