"""Distillers: what each subnet of a step is pulled to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F


class Distiller(Protocol):
    """Gives the loss of one subnet of a step."""

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """The loss of one subnet on one batch: a scalar.

        Args:
            logits: the subnet's, float `(N, classes)`.
            labels: int64 `(N,)`.
            teacher: the logits of the step's largest subnet, detached, float `(N, classes)`; None for the
                largest subnet itself, and for those trained before it.
        """


@dataclass(frozen=True)
class InPlaceDistiller:
    """The largest subnet learns from the labels, the others from the largest.

    The others' loss is −Σ p log q, with p the largest subnet's softmax and q their own, both at temperature 1
    (BigNAS, Yu et al., 2020, arXiv:2003.11142; US-Nets, arXiv:1903.05134).

    Attributes:
        label_smoothing: of the largest subnet's cross-entropy; 0.1 in BigNAS.
    """

    label_smoothing: float = 0.1

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """Cross-entropy with the labels where there is no teacher, else with the teacher's softmax."""
        if teacher is None:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        return F.cross_entropy(logits, teacher.softmax(dim=1))


@dataclass(frozen=True)
class NoDistiller:
    """Every subnet learns from the labels.

    Attributes:
        label_smoothing: of every subnet's cross-entropy.
    """

    label_smoothing: float = 0.0

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """Cross-entropy with the labels."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
