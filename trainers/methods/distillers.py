"""Distillers: losses of a subnet's logits, its labels and the teacher's logits."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from elastic import Arch, Supernet
from elastic.errors import TrainingError
from elastic.support.inputs import predict
from trainers.methods.loss import StepBatch, StepLosses, SubnetLoss
from trainers.methods.teacher_outputs import TeacherOutput


class Distiller(SubnetLoss):
    """A loss of logits: a subclass says how they are compared with the labels and the teacher's."""

    def on_batch(self, supernet: Supernet, batch: StepBatch) -> StepLosses:
        """One forward pass for each subnet."""
        return LogitLosses(supernet, batch, self)

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """The loss of one subnet on one batch: a scalar.

        Args:
            logits: the subnet's, float `(N, classes)`.
            labels: as for `StepBatch`.
            teacher: the teacher's logits, detached, float `(N, classes)`; None where there is no teacher (yet),
                and for the subnet that is the teacher.
        """


class LogitLosses(StepLosses):
    """The losses of logits: one forward pass for each subnet."""

    def __init__(self, supernet: Supernet, batch: StepBatch, distiller: Distiller) -> None:
        self.supernet = supernet
        self.batch = batch
        self.distiller = distiller
        self._last = TeacherOutput(torch.empty(0))

    def loss(self, k: int, teacher: TeacherOutput | None) -> Tensor:
        """The distiller's."""
        logits = predict(self.supernet, self.batch.inputs)
        self._last = TeacherOutput(logits.detach())
        return self.distiller.loss(logits, self.batch.labels, None if teacher is None else teacher.logits)

    def output(self, arch: Arch) -> TeacherOutput:
        """The logits of the last loss."""
        return self._last


def label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the labels; of a model that predicts a number, the mean squared error."""
    if logits.shape[1] == 1:
        return F.mse_loss(logits.squeeze(1).float(), labels.float())
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


@dataclass(frozen=True)
class SoftTargets(Distiller):
    """Cross-entropy with the teacher's softmax, with the labels, or with both.

    The loss is teacher_weight · (−T² Σ p log q) + label_weight · CE(labels), with p the teacher's softmax and q the
    subnet's, both at temperature T. The defaults are the in-place distillation of US-Nets (Yu and Huang, 2019,
    arXiv:1903.05134) and BigNAS (arXiv:2003.11142); Once-for-All (Cai et al., ICLR 2020) adds the labels with
    weight 1. Where there is no teacher, it is cross-entropy with the labels. Of a model that predicts a number, both
    terms are mean squared errors, from the teacher's number and from the label.

    Attributes:
        label_smoothing: of the cross-entropy with the labels; 0.1 in the papers.
        teacher_weight: of the soft targets.
        label_weight: of the labels, beside the teacher.
        temperature: softens both distributions.
    """

    label_smoothing: float = 0.1
    teacher_weight: float = 1.0
    label_weight: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise TrainingError(f"SoftTargets: temperature is a number above 0, got {self.temperature}")

    @property
    def learns_from_teacher(self) -> bool:
        """Always."""
        return True

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """See the class."""
        if teacher is None:
            return label_loss(logits, labels, self.label_smoothing)
        loss = self.teacher_weight * self._soft(logits, teacher)
        if self.label_weight:
            loss = loss + self.label_weight * label_loss(logits, labels, self.label_smoothing)
        return loss

    def _soft(self, logits: Tensor, teacher: Tensor) -> Tensor:
        if logits.shape[1] == 1:  # the softmax of one number is 1, whatever it is
            return label_loss(logits, teacher.squeeze(1))
        soft = F.cross_entropy(logits / self.temperature, (teacher / self.temperature).softmax(dim=1))
        return self.temperature**2 * soft


@dataclass(frozen=True)
class AlphaDivergence(Distiller):
    """The larger of two α-divergences from the teacher: neither over- nor underestimates its uncertainty.

    D_α(p‖q) = Σ q ((p/q)^α − 1) / (α (α − 1)), which is KL(p‖q) for α = 1; of α₋ and α₊, the one whose divergence is
    larger is trained, for each example of the batch on its own, as in AlphaNet's code (Wang et al., 2021,
    arXiv:2102.07954), and averaged over the batch. In its value and its gradient, −Σ q (p/q)^α / α · ∇log q, (p/q)^α is
    clipped: neither is bounded otherwise. For α = 1 the gradient is bounded, −Σ p ∇log q, and nothing is clipped. Clip
    the gradients, too (`optimizer.clip_value`). Of a model that predicts a number, it is the mean squared error from
    the teacher's.

    Attributes:
        alpha_minus: α₋.
        alpha_plus: α₊.
        clip: the largest (p/q)^α, for α other than 1.
        label_smoothing: of the cross-entropy with the labels, where there is no teacher.
    """

    alpha_minus: float = -1.0
    alpha_plus: float = 1.0
    clip: float = 5.0
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        if 0 in (self.alpha_minus, self.alpha_plus) or self.clip <= 0:
            raise TrainingError(
                "AlphaDivergence: alphas are other than 0 and clip is above 0; "
                f"got {self.alpha_minus}, {self.alpha_plus} and {self.clip}"
            )

    @property
    def learns_from_teacher(self) -> bool:
        """Always."""
        return True

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """See the class."""
        if teacher is None:
            return label_loss(logits, labels, self.label_smoothing)
        if logits.shape[1] == 1:
            return label_loss(logits, teacher.squeeze(1))
        log_p, log_q = teacher.float().log_softmax(dim=1), logits.float().log_softmax(dim=1)
        fixed, alphas = log_q.detach(), (self.alpha_minus, self.alpha_plus)
        minus, plus = (alpha_divergence(log_p, fixed, alpha, self.clip) for alpha in alphas)
        pull_minus, pull_plus = (_tilted(log_p, fixed, alpha, self.clip) / alpha for alpha in alphas)
        surrogate = -(torch.where((minus > plus)[:, None], pull_minus, pull_plus) * log_q).sum(dim=1)
        return (surrogate - surrogate.detach() + minus.maximum(plus)).mean()


def alpha_divergence(log_p: Tensor, log_q: Tensor, alpha: float, clip: float = float("inf")) -> Tensor:
    """D_α(p‖q), with (p/q)^α clipped unless α = 1: `(N,)`, from log-probabilities `(N, classes)`."""
    if alpha == 1:
        return (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return (_tilted(log_p, log_q, alpha, clip).sum(dim=1) - 1) / (alpha * (alpha - 1))


def _tilted(log_p: Tensor, log_q: Tensor, alpha: float, clip: float) -> Tensor:
    """The terms q (p/q)^α, `(N, classes)`, with (p/q)^α clipped; for α = 1, p as it is."""
    return log_p.exp() if alpha == 1 else log_q.exp() * (alpha * (log_p - log_q)).exp().clamp(max=clip)


@dataclass(frozen=True)
class NoDistiller(Distiller):
    """Every subnet learns from the labels.

    Attributes:
        label_smoothing: of every subnet's cross-entropy.
    """

    uses_teacher: ClassVar[bool] = False
    label_smoothing: float = 0.0

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """See `label_loss`."""
        return label_loss(logits, labels, self.label_smoothing)
