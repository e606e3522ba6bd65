"""A step under attack: the losses of its subnets, each attacked itself, or all on images that were attacked once."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from elastic import Arch, Supernet
from elastic.support.inputs import predict
from trainers.methods.distillers import RobustLoss
from trainers.methods.lessons import Answer, Lesson
from trainers.robust.training_attack import Adversary, seeded, under_attack


class AttackedTrial:
    """The losses of a step's subnets on one batch of images, attacked."""

    def __init__(
        self,
        supernet: Supernet,
        loss: RobustLoss,
        images: Tensor,
        labels: Tensor,
        adversary: Adversary,
        epoch: float,
        seed: tuple[int, ...],
    ) -> None:
        """Nothing is attacked yet.

        Args:
            supernet: what is trained.
            loss: what the adversary maximises, and what is minimised.
            images: float `(N, C, H, W)` between 0 and 1.
            labels: int64 `(N,)`, or probabilities `(N, classes)`.
            adversary: attacks them.
            epoch: where in the training, for the adversary's warm-up.
            seed: of where its ascents start.
        """
        self.supernet = supernet
        self.robust = loss
        self.images = images
        self.labels = labels
        self.adversary = adversary
        self.share = adversary.warm(epoch)
        self.seed = seed
        self._shared: Tensor | None = None

    def loss(self, k: int, lesson: Lesson | None) -> Tensor:
        """Of the active subnet, the step's k-th."""
        student = partial(predict, self.supernet)
        if self._shared is not None:
            attacked = self._shared
        elif self.adversary.shared:
            victim = lesson.answer if lesson is not None and self.robust.attacks_teacher else student
            attacked = self._shared = self._attack(victim, lesson, k)
        else:
            attacked = self._attack(student, lesson, k)
        return self.robust.loss(student, self.images, attacked, self.labels, lesson)

    def _attack(self, victim: Answer, lesson: Lesson | None, k: int) -> Tensor:
        with under_attack(self.supernet.model):
            objective = self.robust.objective(victim, self.images, self.labels, lesson)
            return self.adversary.perturb(self.images, objective, seeded(*self.seed, k), self.share)

    def lesson(self, arch: Arch) -> Lesson:
        """What the active subnet, which has just been tried, teaches those tried after it."""
        with torch.no_grad():
            return Lesson(self._answer(arch, self.images), answer=partial(self._answer, arch))

    def _answer(self, arch: Arch, images: Tensor) -> Tensor:
        """As it is while it trains, though no statistics move."""
        with self.supernet.active(arch), under_attack(self.supernet.model):
            return predict(self.supernet, images)
