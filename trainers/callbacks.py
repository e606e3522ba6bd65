"""Callbacks of a run: the progress bar, the table of subnets, and validation after the last step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Group
from rich.table import Table
from rich.text import Text

from elastic.support.console import show
from elastic.support.text import short, spell_count
from trainers.estimate import Pace, measure_pace, step_seconds, training_memory
from trainers.supernet_module import SupernetModule


class PhaseProgressBar(RichProgressBar):
    """The progress bar, with the phase beside the loss, and how many of its subnets a step trains."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The logged metrics that the bar shows."""
        shown: dict[str, Any] = dict(super().get_metrics(trainer, pl_module))
        shown.pop("v_num", None)
        if isinstance(pl_module, SupernetModule) and trainer.training:
            shown["phase"] = pl_module.phase.name
            phase, plan = pl_module.progress.phase, pl_module.plan
            shown["subnets"] = f"{plan.samplers[phase].subnets_per_step} of {spell_count(plan.spaces[phase].size)}"
        return shown


class SubnetReport(Callback):
    """Reports the plan before training, and the named subnets' metrics after each validation."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Supernet, phases and steps, in a few lines."""
        if not trainer.is_global_zero:
            return
        module = cast(SupernetModule, pl_module)
        supernet, space = module.supernet, module.supernet.space
        macs = supernet.macs([space.smallest, space.largest])
        params = supernet.params([space.smallest, space.largest])
        show(
            f"{module.source.model}: {spell_count(space.size)} subnets, {short(params[0])} to {short(params[1])} "
            f"parameters, {short(macs[0])} to {short(macs[1])} MACs",
        )
        data = getattr(trainer, "datamodule", None)
        images = int(data.batch_size) if hasattr(data, "batch_size") else None  # type: ignore[union-attr]
        context = trainer.precision_plugin.forward_context
        pace = None if images is None else measure_pace(supernet, module.device, images, context)
        show(_plan(module, images, pace))
        if images is not None:
            show(_needs(module, images, pace))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The table of the subnets validated."""
        if not trainer.sanity_checking:
            self._show(trainer, cast(SupernetModule, pl_module), "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The table of the subnets tested."""
        self._show(trainer, cast(SupernetModule, pl_module), "test")

    def _show(self, trainer: Trainer, module: SupernetModule, stage: str) -> None:
        if not trainer.is_global_zero:
            return
        after = f" after step {module.global_step}" if module.global_step else ""
        table = Table(title=f"{stage}{after}, on {module.validator.examples:,} examples")
        table.add_column("subnet")
        attacked = module.validator.options.attack is not None
        for heading in ("arch", "MACs", "parameters", module.validator.metric, *(["under attack"] if attacked else [])):
            table.add_column(heading, justify="right")
        for result in module.validator.results:
            scores = [f"{100 * result.score:.2f}{' %' if result.metric == 'accuracy' else ''}"]
            if result.robust is not None:
                scores.append(f"{100 * result.robust:.2f} %")
            table.add_row(result.name, result.arch.id, short(result.macs), short(result.params), *scores)
        show(table)


def _plan(module: SupernetModule, images: int | None, pace: Pace | None) -> Group:
    """A table of the phases, a row each; below it what is elastic in them, and what learning rates are scaled by."""
    table = Table()
    table.add_column("phase", overflow="fold")
    for heading in ("epochs", "steps", "subnets\na step", "subnets", "learning\nrate", "about"):
        table.add_column(heading, justify="right", no_wrap=True)
    together = None if images is None else images * module.step_options.accumulate * module.trainer.world_size
    factor = 1.0 if together is None else module.curriculum.factor(together)
    elastic: dict[str, list[str]] = {}
    for index, phase in enumerate(module.curriculum.scaled):
        space, sampler = module.plan.spaces[index], module.plan.samplers[index]
        kinds = dict.fromkeys(dim.kind for dim in space.dims if len(dim.choices) > 1)
        elastic.setdefault(", ".join(kinds) or "nothing", []).append(phase.name)
        seconds = None if pace is None or images is None else _phase_seconds(module, index, images, pace)
        steps = phase.epochs * module.progress.steps_per_epoch
        table.add_row(
            phase.name, str(phase.epochs), str(steps), str(sampler.subnets_per_step),
            spell_count(space.size), f"{phase.learning_rate * factor:.3g}",
            "" if seconds is None else _duration(seconds),
        )  # fmt: skip
    lines = [f"elastic{_in_phases(names) if len(elastic) > 1 else ''}: {kinds}" for kinds, names in elastic.items()]
    if factor != 1.0:
        rate = module.curriculum.scaled[0].learning_rate
        given = f"{rate:.3g} for {module.curriculum.batch_size} images, here {together}"
        lines.append(f"learning rate: {rate * factor:.3g} ({given})")
    return Group(table, *map(Text, lines))


def _in_phases(names: Sequence[str]) -> str:
    return f" in {', '.join(names)}"


def _needs(module: SupernetModule, images: int, pace: Pace | None) -> str:
    """The memory of a step, and the time of all of them."""
    needed = training_memory(module.supernet, images)
    held = "an unknown number of bytes" if needed is None else f"about {short(needed)}B"
    memory = f"a step of the largest subnet holds {held} in float32"
    if pace is None:
        return (
            f"{memory}; timing passes of {images} images ran out of memory on {module.device}: "
            "if training does, too, lower --data.batch_size"
        )
    seconds = sum(_phase_seconds(module, index, images, pace) for index in range(len(module.curriculum.phases)))
    return f"{memory}; all passes together take about {_duration(seconds)} here, without reading images and validation"


def _phase_seconds(module: SupernetModule, index: int, images: int, pace: Pace) -> float:
    steps = module.curriculum.scaled[index].epochs * module.progress.steps_per_epoch
    together = images * module.step_options.accumulate
    return steps * step_seconds(module.plan, index, module.adversary, pace, together)


class LastValidation(Callback):
    """Validates after the last epoch or the last of `max_steps`, too, whenever else validation is due."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Decide before Lightning does; an epoch that is resumed midway has no `on_train_epoch_start`."""
        stops = 0 <= trainer.max_steps <= trainer.global_step
        if stops:
            trainer.val_check_batch = 1  # in the middle of an epoch, too
        if (stops or trainer.current_epoch + 1 == trainer.max_epochs) and trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
