"""Teachers: whose logits the subnets of a step may be pulled to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from elastic import Supernet
from elastic.building import SupernetSource
from elastic.errors import TrainingError
from trainers.curriculum import Curriculum


class Teacher(Protocol):
    """Says which network teaches, and from when on."""

    def build(self, supernet: Supernet) -> nn.Module | None:
        """A network of its own, its weights kept in checkpoints; None: the step's largest subnet teaches."""

    def begins(self, curriculum: Curriculum) -> int:
        """The index of the first phase that it teaches."""

    def is_snapshot(self) -> bool:
        """Whether its weights are those of the largest subnet at the beginning of that phase."""


@dataclass(frozen=True)
class InPlaceTeacher:
    """The step's largest subnet, as it is: the subnets trained after it learn from its logits (US-Nets, BigNAS)."""

    def build(self, supernet: Supernet) -> nn.Module | None:
        """No network of its own."""
        return None

    def begins(self, curriculum: Curriculum) -> int:
        """From the first phase on."""
        return 0

    def is_snapshot(self) -> bool:
        """No."""
        return False


@dataclass(frozen=True)
class SnapshotTeacher:
    """The largest subnet as it was when a phase ended (Once-for-All's teacher: the full network).

    Its BatchNorm statistics are re-estimated: those of training are a mixture of all subnets'. Where weights are
    averaged (`step.average`), it has the averaged ones.

    Attributes:
        after: the phase's name; until its end, there is no teacher.
    """

    after: str

    def build(self, supernet: Supernet) -> nn.Module | None:
        """The largest subnet, cut out."""
        return supernet.extract(supernet.space.largest)

    def begins(self, curriculum: Curriculum) -> int:
        """The phase behind `after`.

        Raises:
            TrainingError: there is no such phase, or none behind it.
        """
        names = [phase.name for phase in curriculum.phases]
        if self.after not in names[:-1]:
            raise TrainingError(
                f"the teacher is the largest subnet after phase {self.after!r}; that must be one of the phases "
                f"{', '.join(names)}, and not the last"
            )
        return names.index(self.after) + 1

    def is_snapshot(self) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True)
class ModelTeacher:
    """Any model of timm, made for the student's classes and input.

    Attributes:
        model: its name, as for `timm.create_model`.
        model_args: keyword arguments of `timm.create_model`, such as `pretrained` or `checkpoint_path`.
    """

    model: str
    model_args: dict[str, Any] = field(default_factory=lambda: {"pretrained": True})

    def build(self, supernet: Supernet) -> nn.Module | None:
        """The model with its weights.

        Raises:
            RecipeError: timm can't make it.
            TrainingError: it can't take the student's inputs, or has other classes.
        """
        classes = int(supernet.model.num_classes)  # type: ignore[arg-type]
        shape = supernet.input_shape(supernet.space.largest)
        source = SupernetSource(self.model, {"num_classes": classes, **self.model_args}, input_size=list(shape))
        try:
            model = source.build_model()
            with torch.no_grad():
                logits = model.eval()(torch.zeros(1, *shape))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise TrainingError(
                f"the teacher {self.model} can't take the student's inputs {shape}: {reason}; "
                "choose another model, or model_args for such inputs"
            ) from error
        if tuple(logits.shape) != (1, classes):
            raise TrainingError(
                f"the teacher {self.model} gives {tuple(logits.shape[1:])} for an image, the student has {classes} "
                "classes; leave num_classes out of the teacher's model_args"
            )
        return model.train()  # as Lightning wants all modules before a fit; in steps it is in eval mode

    def begins(self, curriculum: Curriculum) -> int:
        """From the first phase on."""
        return 0

    def is_snapshot(self) -> bool:
        """No."""
        return False
