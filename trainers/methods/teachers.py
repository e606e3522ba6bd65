"""Teachers: the networks whose outputs the subnets of a step learn from."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import nn

from elastic import SearchSpace, Supernet
from elastic.errors import TrainingError, first_line
from elastic.layers.batchnorm import has_batchnorm
from elastic.supernet.source import SupernetSource
from elastic.support.inputs import predict
from elastic.upstream import library_of
from trainers.methods.curriculum import Curriculum


class Teacher(Protocol):
    """Says which network teaches, and from when on: by default from the first phase, as it is then, at full size."""

    @abstractmethod
    def build(self, supernet: Supernet) -> nn.Module | None:
        """A network of its own, its weights kept in checkpoints; None: the step's largest subnet teaches."""

    def begins(self, curriculum: Curriculum) -> int:
        """The index of the first phase that it teaches."""
        return 0

    def snapshots(self, curriculum: Curriculum) -> tuple[int, ...]:
        """The indices of the phases at whose beginning it takes over the supernet's weights."""
        return ()

    def is_as_wide(self, phase: str) -> bool:
        """True if it then runs at each subnet's own widths, rather than at full size."""
        return False


@dataclass(frozen=True)
class InPlaceTeacher(Teacher):
    """The step's largest subnet, as it is: the subnets trained after it learn from its logits (US-Nets, BigNAS).

    It takes a sampler that trains the largest subnet in each step, before others.
    """

    def build(self, supernet: Supernet) -> nn.Module | None:
        """No network of its own."""
        return None


@dataclass(frozen=True)
class SnapshotTeacher(Teacher):
    """The supernet as it was when a phase ended (Once-for-All's teacher: the full network).

    The BatchNorm statistics of a full network are re-estimated: those of training are a mixture of all subnets'. Where
    weights are averaged (`step.average`), it has the averaged ones.

    Attributes:
        after: the phase's name; until its end, there is no teacher. Several as {finetune: full, width: student}: from
            the end of `finetune` on the full network of that time teaches, from the end of `width` on that of this
            time, which teaches each subnet at the subnet's own widths (and full depth), as DynaBERT's second stage.
    """

    after: str | dict[str, Literal["full", "student"]]

    @property
    def _ways(self) -> dict[str, Literal["full", "student"]]:
        return {self.after: "full"} if isinstance(self.after, str) else dict(self.after)

    def build(self, supernet: Supernet) -> nn.Module | None:
        """The largest subnet, cut out; a copy of the supernet where it is to teach at several widths.

        Raises:
            TrainingError: it is to teach at several widths, and has BatchNorm, whose statistics are those of one.
        """
        if "student" in self._ways.values():
            if has_batchnorm(supernet):
                phase = next(phase for phase, way in self._ways.items() if way == "student")
                raise TrainingError(
                    f"after phase {phase!r} the teacher is to be as wide as each student, but BatchNorm's statistics "
                    f"are those of one width; let it teach at full width: {{{phase}: full}}"
                )
            return copy.deepcopy(supernet)
        return supernet.extract(supernet.space.largest)

    def begins(self, curriculum: Curriculum) -> int:
        """The phase behind the first one.

        Raises:
            TrainingError: there is no such phase, or none behind it.
        """
        return min(self.snapshots(curriculum))

    def snapshots(self, curriculum: Curriculum) -> tuple[int, ...]:
        """The phases behind those named.

        Raises:
            TrainingError: as for `begins`.
        """
        names = [phase.name for phase in curriculum.phases]
        for after in self._ways or [""]:
            if after not in names[:-1]:
                raise TrainingError(
                    f"the teacher is the largest subnet after phase {after!r}; that must be one of the phases "
                    f"{', '.join(names)}, and not the last"
                )
        return tuple(sorted(names.index(after) + 1 for after in self._ways))

    def is_as_wide(self, phase: str) -> bool:
        """True if the snapshot after this phase is to teach at each subnet's own widths."""
        return self._ways.get(phase) == "student"


@dataclass(frozen=True)
class ModelTeacher(Teacher):
    """Any model of timm, or behind `transformers:` of transformers, made for the student's classes and input.

    Attributes:
        model: its name, as for `elastic.supernet.source.SupernetSource`.
        model_args: its arguments, such as `pretrained` or timm's `checkpoint_path`.
        normalize: {mean, std} where it normalises images itself (see `elastic.supernet.source.SupernetSource`).
    """

    model: str
    model_args: dict[str, Any] = field(default_factory=lambda: {"pretrained": True})
    normalize: dict[str, list[float]] | None = None

    def build(self, supernet: Supernet) -> nn.Module | None:
        """The model with its weights.

        Raises:
            RecipeError: timm can't make it.
            TrainingError: it can't take the student's inputs, or has other classes.
        """
        classes = library_of(supernet.model).classes
        shape = supernet.input_shape(supernet.space.largest)
        reads = supernet.recipe.vocabulary is not None
        args = {"num_labels" if reads else "num_classes": classes, **self.model_args}
        source = SupernetSource(self.model, args, input_size=None if reads else list(shape), normalize=self.normalize)
        try:
            model = source.build_model()
            with torch.no_grad():
                logits = predict(model.eval(), supernet.example_inputs())
        except (RuntimeError, AssertionError, ValueError) as error:
            raise TrainingError(
                f"the teacher {self.model} can't take the student's inputs {shape}: {first_line(error)}; "
                "choose another model, or model_args for such inputs"
            ) from error
        if tuple(logits.shape) != (1, classes):
            raise TrainingError(
                f"the teacher {self.model} gives {tuple(logits.shape[1:])} for an image, the student has {classes} "
                "classes; leave num_classes out of the teacher's model_args"
            )
        return model.train()  # as Lightning wants all modules before a fit; in steps it is in eval mode


def check_snapshots(
    snapshots: Sequence[int], curriculum: Curriculum, spaces: Sequence[SearchSpace], whole: SearchSpace
) -> None:
    """Refuse the largest subnet as a teacher after a phase that doesn't train it.

    Args:
        snapshots: the indices of the phases at whose beginning the weights are taken over.
        curriculum: the phases.
        spaces: what each of them trains.
        whole: all that there is.

    Raises:
        TrainingError: the phase before one of these is narrowed below the largest subnet.
    """
    for index in snapshots:
        name = curriculum.phases[index - 1].name
        for dim, value in spaces[index - 1].largest.items():
            if value != whole.largest[dim]:
                raise TrainingError(
                    f"the teacher is the largest subnet after phase {name!r}, which trains {dim} up to {value} and not "
                    f"to {whole.largest[dim]}, so parts of the teacher would be untrained; keep the largest choices in "
                    "the phase, or narrow the supernet itself (model.supernet.choices)"
                )
