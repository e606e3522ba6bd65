"""The plan of a training: the search space, sampler, loss and teacher of each phase."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from elastic import Arch, Supernet
from elastic.errors import TrainingError
from elastic.space.space import Rows
from trainers.methods.curriculum import Curriculum
from trainers.methods.loss import SubnetLoss
from trainers.methods.samplers import Contest, Sampler, SamplingContext
from trainers.methods.teachers import Teacher, check_snapshots

_ASKED = 3
"""Steps that a sampler is asked for beforehand."""


class TrainingPlan:
    """The phases of a training, checked against its supernet.

    Attributes:
        spaces: the part of the search space that each phase trains, in order.
        samplers: what chooses each phase's subnets.
        losses: what gives each phase's subnets their losses.
        stacks: the path of the blocks whose outputs each phase's loss compares; None where it compares none.
        snapshots: the indices of the phases at whose beginning the teacher takes over the supernet's weights.
    """

    def __init__(
        self,
        supernet: Supernet,
        curriculum: Curriculum,
        sampler: Sampler,
        loss: SubnetLoss,
        teacher: Teacher,
        seed: int,
    ) -> None:
        """Check each phase against the supernet.

        Args:
            supernet: what is trained.
            curriculum: the phases.
            sampler: of the phases that have none of their own.
            loss: of the phases that have none of their own.
            teacher: whose outputs the losses get.
            seed: of the samplers.

        Raises:
            ArchError: a phase asks for choices that the supernet doesn't have.
            TrainingError: a teacher that the curriculum has no place for, or that would be untrained; a loss that
                compares hidden states where the supernet has no one stack of blocks.
        """
        phases = curriculum.phases
        self.supernet = supernet
        self.curriculum = curriculum
        self.teacher = teacher
        self.seed = seed
        self.spaces = [phase.narrow(supernet.space) for phase in phases]
        self.samplers = [phase.sampler or sampler for phase in phases]
        self.losses = [phase.distiller or loss for phase in phases]
        self.stacks = [each.stack(supernet) for each in self.losses]
        self.snapshots = teacher.snapshots(curriculum)
        self._teaches_from = teacher.begins(curriculum)
        check_snapshots(self.snapshots, curriculum, self.spaces, supernet.space)

    def draw(self, phase: int, step: int) -> Iterator[Arch | Contest]:
        """The subnets, or contests for one, that the phase with this index trains in an optimiser step."""
        space, sampler = self.spaces[phase], self.samplers[phase]

        def macs(rows: Rows) -> NDArray[np.int64]:
            return self.supernet.macs(self.supernet.space.widened(rows, space))

        for k in range(sampler.subnets_per_step):
            yield sampler.sample(SamplingContext(space, macs, self.seed, step), k)

    def has_teacher(self, phase: int) -> bool:
        """True if the subnets of the phase with this index are given a teacher's output."""
        return phase >= self._teaches_from and self.losses[phase].uses_teacher

    def teaches_as_wide(self, phase: int) -> bool:
        """True if the teacher then runs at each subnet's own widths, rather than at full size."""
        before = [at - 1 for at in self.snapshots if at <= phase]
        return bool(before) and self.teacher.is_as_wide(self.curriculum.phases[before[-1]].name)

    def check_in_place(self) -> None:
        """Check that the largest subnet can teach: each step must train it before another one.

        Raises:
            TrainingError: a phase's loss learns from a teacher, and its sampler draws otherwise.
        """
        for index, (space, loss) in enumerate(zip(self.spaces, self.losses, strict=True)):
            if space.size == 1 or not loss.learns_from_teacher:
                continue
            steps = (list(self.draw(index, step)) for step in range(_ASKED))
            if not all(space.largest in archs[:-1] for archs in steps):
                raise TrainingError(
                    f"phase {self.curriculum.phases[index].name!r}: {type(loss).__name__} learns from the step's "
                    f"largest subnet, and {type(self.samplers[index]).__name__} doesn't train that in each step, "
                    "before others; take SandwichSampler, a teacher of its own (SnapshotTeacher, ModelTeacher), or "
                    "NoDistiller"
                )
