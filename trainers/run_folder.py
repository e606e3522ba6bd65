"""The folder of a run: its checkpoints, the supernet that it ships, and its configuration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from elastic.errors import TrainingError
from elastic.supernet.folder import mark_finished, save_supernet
from elastic.support.files import write_text
from elastic.support.text import did_you_mean
from trainers.resuming import LAST
from trainers.supernet_module import SupernetModule
from trainers.trainer import SupernetTrainer


class RunFolder(Checkpoint):
    """Keeps a run in its folder: `last.ckpt` to continue it, and, after every epoch, the supernet to ship it.

    `supernet.json` and `supernet.safetensors` are all that `elastic search`, `extract` and the like need.
    Each file is replaced whole or not at all.
    """

    def __init__(
        self,
        folder: str | Path,
        checkpoint_every: int | None = None,
        keep_best: str | None = None,
        configuration: str | None = None,
    ) -> None:
        """Nothing is written before a step has been trained.

        Args:
            folder: the run's folder.
            checkpoint_every: optimiser steps between two checkpoints; None: one at the end of each epoch only.
            keep_best: a metric of the validation, such as `val/largest/robust`: the supernet to ship is that of the
                phase's validation where it was highest; None: the last one.
            configuration: what `config.yaml` is to hold; None: there is none.
        """
        self.folder = Path(folder)
        self.checkpoint_every = checkpoint_every
        self.keep_best = keep_best
        self.configuration = configuration
        self._phase = ""
        self._best = -math.inf

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, for a run that is resumed."""
        return {"phase": self._phase, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._phase, self._best = state_dict["phase"], state_dict["best"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what a killed process was writing.

        Raises:
            TrainingError: the best is to be kept by a metric that this training never logs.
        """
        if self.keep_best is not None:
            _check_metric(self.keep_best, trainer, cast(SupernetModule, pl_module))
        if isinstance(trainer, SupernetTrainer):
            trainer.may_stop = False
        if trainer.is_global_zero:
            for unfinished in self.folder.glob(f".{LAST}-*"):
                unfinished.unlink(missing_ok=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the checkpoint when it is time; an epoch's last step has its own, after the validation.

        And the configuration, once: a training that was refused, as a resumed one may be, has changed nothing.
        """
        if self.configuration is not None and trainer.is_global_zero:
            write_text(self.folder / "config.yaml", self.configuration)
        self.configuration = None
        due = self.checkpoint_every and trainer.global_step % self.checkpoint_every == 0
        if isinstance(trainer, SupernetTrainer):
            trainer.may_stop = False
            due = due or (trainer.is_terminated and trainer.world_size == 1)  # others mayn't know of it
        if due and cast(SupernetModule, pl_module).steps.current is None and not trainer.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the supernet, if it is to be kept, and the checkpoint."""
        module = cast(SupernetModule, pl_module)
        if self._is_best(trainer, module) and trainer.is_global_zero:
            data = getattr(trainer, "datamodule", None)
            names = getattr(data, "class_names", ())  # of whatever gives the batches
            save_supernet(module.trained, module.source, self.folder, module.batchnorm, finished=False, classes=names)
        self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say of the supernet that its training has ended as planned; whatever ends it early doesn't get here."""
        if trainer.is_global_zero and (self.folder / "supernet.json").exists():
            mark_finished(self.folder)

    def _save(self, trainer: Trainer) -> None:
        """Write the checkpoint; after it, a SIGTERM may end the training."""
        trainer.save_checkpoint(self.folder / LAST)
        if isinstance(trainer, SupernetTrainer):
            trainer.may_stop = True

    def _is_best(self, trainer: Trainer, module: SupernetModule) -> bool:
        """True if the phase's best value so far has just been reached, or the phase has none yet."""
        if self.keep_best is None:
            return True
        phase = module.curriculum.phases[module.progress.trained_phase].name
        if phase != self._phase:
            self._phase, self._best = phase, -math.inf
        value = self._value(trainer, self.keep_best)
        if value is None:
            return self._best == -math.inf
        better = value > self._best
        self._best = max(self._best, value)
        return better

    @staticmethod
    def _value(trainer: Trainer, name: str) -> float | None:
        """The metric that the epoch's validation logged; None where there was none, or the phase lacks it."""
        every = trainer.check_val_every_n_epoch
        if every is None or (trainer.current_epoch + 1) % every or name not in trainer.callback_metrics:
            return None
        return float(trainer.callback_metrics[name])


def _check_metric(name: str, trainer: Trainer, module: SupernetModule) -> None:
    if trainer.check_val_every_n_epoch is None or not trainer.limit_val_batches:
        raise TrainingError(
            f"--keep_best {name} chooses by the validations at the ends of epochs, and there are none; give "
            "--trainer.check_val_every_n_epoch 1 and --trainer.limit_val_batches 1.0, or --keep_best null"
        )
    logged = module.validator.logged(module.plan.spaces[-1], module.supernet.space)
    if name not in logged:
        cure = did_you_mean(name, logged, f"in the last phase it logs {', '.join(logged)}")
        raise TrainingError(f"--keep_best {name}: validation logs no such metric; {cure}")
