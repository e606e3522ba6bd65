"""Hidden states: a transformer's subnets learn from the output of each of the teacher's blocks, too."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from elastic import Supernet
from elastic.errors import TrainingError
from elastic.layers.read_rules import DEPTH
from trainers.methods.distillers import Distiller, LogitLosses, SoftTargets
from trainers.methods.loss import StepBatch, StepLosses
from trainers.methods.teacher_outputs import TeacherOutput, recorded


@dataclass(frozen=True)
class HiddenStates(Distiller):
    """Another distiller's loss, and how far the hidden states are from the teacher's.

    The states are the input of the first block (the embedding) and the output of each block. With m blocks in the
    subnet and M in the teacher, the subnet's state k (from 0 to m) is compared with the teacher's state floor(k M / m):
    first with first, last with last. The distance is the mean squared error, summed over the states (DynaBERT, Hou et
    al., 2020, arXiv:2004.04037). A subnet of smaller embedding width is compared with the teacher's first units.

    Attributes:
        base: gives the loss of the logits; null: `SoftTargets` as they are by default, and of a model that predicts a
            number nothing: its hidden states alone teach, as in DynaBERT's code.
        weight: of the summed distances; 0.1 in DynaBERT's first stage, 1 in its second.
    """

    base: Distiller | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise TrainingError(f"HiddenStates: weight is 0 or more, got {self.weight}")

    @property
    def learns_from_teacher(self) -> bool:
        """Always."""
        return True

    def on_batch(self, supernet: Supernet, batch: StepBatch) -> StepLosses:
        """One forward pass for each subnet, which records its hidden states."""
        return _RecordingLosses(supernet, batch, self)

    def stack(self, supernet: Supernet) -> str:
        """The path of the container that depth chooses blocks from.

        Raises:
            TrainingError: there is none, or several: a convolutional network's stages.
        """
        paths = [path for path, rules in supernet.layout.rules.items() if DEPTH in rules]
        if len(paths) != 1:
            raise TrainingError(
                f"HiddenStates is for networks with one stack of blocks, such as transformers; "
                f"this supernet has {len(paths)}: {', '.join(paths) or 'none'}. Choose another distiller"
            )
        return paths[0]

    def loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """The base's loss."""
        weight = 0.0 if logits.shape[1] == 1 else 1.0
        return (self.base or SoftTargets(teacher_weight=weight)).loss(logits, labels, teacher)

    def distance(self, states: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The weighted distance: a scalar.

        Args:
            states: the subnet's, float `(N, tokens, width)`, m + 1 of them.
            teacher: the teacher's, detached, as wide or wider, M + 1 of them.

        Raises:
            TrainingError: other numbers of tokens, or a teacher that is narrower.
        """
        total = states[0].new_zeros(())
        for k, state in enumerate(states):
            goal = teacher[k * (len(teacher) - 1) // max(len(states) - 1, 1)]
            if state.shape[:-1] != goal.shape[:-1] or state.shape[-1] > goal.shape[-1]:
                raise TrainingError(
                    f"HiddenStates: a subnet's state is {tuple(state.shape)}, its teacher's {tuple(goal.shape)}; they "
                    "need the same tokens, and a teacher as wide: leave resolution at full size (choices: null)"
                )
            total = total + F.mse_loss(state, goal[..., : state.shape[-1]].to(state.dtype))
        return self.weight * total


class _RecordingLosses(LogitLosses):
    """The losses of logits and hidden states."""

    def __init__(self, supernet: Supernet, batch: StepBatch, distiller: HiddenStates) -> None:
        super().__init__(supernet, batch, distiller)
        self.hidden = distiller
        self.stack = distiller.stack(supernet)

    def loss(self, k: int, teacher: TeacherOutput | None) -> Tensor:
        """The base's loss, and the distance from the teacher's hidden states where there is a teacher."""
        with recorded(self.supernet.model, self.stack) as states:
            loss = super().loss(k, teacher)
        self._last = TeacherOutput(self._last.logits, [state.detach() for state in states])
        return loss if teacher is None else loss + self.hidden.distance(states, teacher.states)
