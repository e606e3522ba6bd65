"""`elastic fit|validate|test`: Lightning's command line, with a folder for each run.

A command line comes here in its long form. `trainers.cli.fit` sees it first and has it rewritten by one module after
another: `natural_forms` turns `depth=1,2` into YAML, `fit_folder` writes `fit FOLDER --model NAME` out, and
`configurations` finds what `--config` names. The parser below merges the YAML files, later ones winning; options win
over files.
"""

from __future__ import annotations

import logging
import re
import warnings
from argparse import ArgumentError
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from jsonargparse.typing import PositiveInt, restricted_number_type
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import trainers
from elastic.errors import CheckpointError, StoppedError, TrainingError, UsageError, first_line
from elastic.supernet.source import SupernetSource
from elastic.support.outputs import check_outputs
from trainers.callbacks import LastValidation, PhaseProgressBar, SubnetReport
from trainers.checkpoints import AtomicCheckpointIO
from trainers.class_paths import current_paths
from trainers.configurations import is_inline, parse_configuration, read_configuration, refuse_ignored
from trainers.data.supernet_data import SupernetData
from trainers.near_matches import with_near_matches
from trainers.resuming import LAST, check_former_run
from trainers.run_folder import RunFolder
from trainers.supernet_module import SupernetModule
from trainers.trainer import SupernetTrainer

Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)])
"""What all generators can be seeded with; `true`, which Lightning takes for a random one, is 1 to others."""

_YAML = "elastic_yaml"
"""jsonargparse's YAML, with classes found under the names that their modules once had."""


def _load(text: str) -> Any:
    """Parse a value, or a file that a configuration names, for jsonargparse, within our size limits."""
    if any(sign in text for sign in "{[:-"):
        parse_configuration(text, "the configuration")
    return get_loader("yaml")(current_paths(text))


set_loader(_YAML, _load, (yaml.YAMLError,))


class SupernetCLI(LightningCLI):
    """`SupernetModule` and `SupernetData` behind a command line; all of a run lies in `<runs>/<name>/`.

    Args:
        args: the command (fit, validate or test) and its options.
    """

    def __init__(self, args: list[str]) -> None:
        self._command = args[0]  # first: the parsers that are built below depend on it
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        options: dict[str, Any] = {"exit_on_error": False, "parser_mode": _YAML}
        super().__init__(
            SupernetModule,
            SupernetData,
            trainer_class=SupernetTrainer,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 10,
                "enable_model_summary": False,
            },
            parser_kwargs={**options, "prog": "elastic", self._command: dict(options)},
            args=args,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override] # Lightning only calls it on instances
        """The command that was asked for: a parser takes long to build, and the others' would be of no use."""
        return {self._command: LightningCLI.subcommands()[self._command]}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed, as a number only."""
        parser.add_argument("--seed_everything", type=Seed, default=0, help="Seeds all that is drawn at random.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's folder, and one seed for all."""
        parser.add_argument("--name", type=str, default="run", help="The run's name; its files lie in <runs>/<name>.")
        parser.add_argument("--runs", type=str, default="runs", help="The folder of all runs.")
        parser.add_argument(
            "--checkpoint_every",
            type=PositiveInt | None,
            default=None,
            help="Optimiser steps between two checkpoints; null: one at the end of each epoch only.",
        )
        parser.add_argument(
            "--keep_best",
            type=str | None,
            default=None,
            help="A metric of the validation such as val/largest/robust: ship the supernet that the last phase's "
            "validations found highest; null: the last one.",
        )
        parser.add_argument(
            "--subnet",
            type=str | None,
            default=None,
            help="Train a single subnet further: the folder that elastic extract wrote.",
        )
        parser.add_argument(
            "--overwrite", type=bool, default=False, help="Train anew into a folder that holds an earlier run."
        )
        parser.link_arguments("seed_everything", "model.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        parser.set_defaults(
            {
                "model.sampler": {"class_path": "trainers.methods.samplers.SandwichSampler"},
                "model.distiller": {"class_path": "trainers.methods.distillers.SoftTargets"},
                "model.teacher": {"class_path": "trainers.methods.teachers.InPlaceTeacher"},
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse `args` alone, whatever the process's own arguments are.

        Raises:
            UsageError: an option or a value that can't be understood, or an unknown key in a configuration file, with
                nothing below it.
        """
        try:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]
        except ArgumentError as error:
            actions = self._parser(self._command)._actions  # noqa: SLF001 - argparse names its options nowhere else
            options = [option for action in actions for option in action.option_strings]
            raise UsageError(with_near_matches(str(error), options)) from error
        config = self.config[self.config.subcommand]
        for path in map(str, config.config or []):
            if not is_inline(path) and Path(path).is_file():
                refuse_ignored(read_configuration(path), config, path)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self._get(self.config, "runs")) / str(self._get(self.config, "name"))

    def _parse_ckpt_path(self) -> None:
        """Nothing: the model comes from the configuration, and loading checks that the checkpoint agrees."""

    def before_instantiate_classes(self) -> None:
        """Find the checkpoint to start from, before anything is built.

        Raises:
            CheckpointError: the checkpoint asked for isn't there, or none was asked for where one is needed.
            TrainingError: a new run where the files of an earlier one are.
            UsageError: the run's folder can't be written.
        """
        config, last = self.config[self.subcommand], self.folder / LAST
        if config.subnet is not None:
            _take_source(config.model.supernet, config.subnet)
        if self.subcommand != "fit":
            config.verbose = False  # the table of subnets says it all
        elif not config.trainer.fast_dev_run:
            check_outputs({}, {f"--runs {config.runs} --name {config.name}:": str(self.folder)})
        if config.ckpt_path == "last":
            config.ckpt_path = str(last)
        if config.ckpt_path is not None:
            if not Path(config.ckpt_path).is_file():
                raise CheckpointError(f"there is no checkpoint {config.ckpt_path}; give another --ckpt_path")
        elif self.subcommand != "fit":
            raise CheckpointError(
                f"{self.subcommand} needs trained weights; give --ckpt_path last, a checkpoint, or a run's folder: "
                f"elastic {self.subcommand} {self.folder}"
            )
        if self.subcommand == "fit" and not config.trainer.fast_dev_run and not config.overwrite:
            check_former_run(self.folder, config.ckpt_path)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer whose files lie in the run's folder.

        Raises:
            UsageError: Lightning knows no such accelerator, strategy or the like.
        """
        config = self._get(self.config_init, "trainer")
        saves = config.enable_checkpointing is not False and not config.fast_dev_run
        callbacks: list[Callback] = [LastValidation(), SubnetReport()]
        if config.enable_progress_bar is not False:
            callbacks.append(PhaseProgressBar())
        if saves:
            every, best = (self._get(self.config, name) for name in ("checkpoint_every", "keep_best"))
            callbacks.append(RunFolder(self.folder, every, best, self._configuration()))
        kwargs["callbacks"] = [*_listed(config.callbacks), *callbacks]
        kwargs["plugins"] = [*_listed(config.plugins), AtomicCheckpointIO()]
        kwargs["default_root_dir"] = config.default_root_dir or str(self.folder)
        if config.logger is None:
            loggers = [TensorBoardLogger(self.folder, name="", version=""), CSVLogger(self.folder, name="csv")]
            kwargs["logger"] = loggers if self.subcommand == "fit" else False
        if config.max_epochs is None and self.subcommand == "fit":
            kwargs["max_epochs"] = self.model.curriculum.epochs
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError) as error:
            raise UsageError(f"an option of --trainer: {first_line(error)}") from error

    def _configuration(self) -> str | None:
        """The content of a fit's config.yaml: all options but the checkpoint that was continued.

        Whoever trains from it again begins anew.
        """
        if self.subcommand != "fit":
            return None
        config = self.config.fit.clone()
        config.ckpt_path, config.overwrite = None, False
        return str(self._parser("fit").dump(config, skip_link_targets=False))

    def before_fit(self) -> None:
        """Read the data before a logger writes files; on several processes each reads it once it has its share.

        Raises:
            TrainingError: the data can't be trained on.
        """
        if self.trainer.world_size == 1:
            self.datamodule.prepare_data()
            self.datamodule.setup("fit")

    def after_fit(self) -> None:
        """Say where the results are."""
        from elastic.support.console import show

        if self.trainer.is_global_zero and (self.folder / LAST).exists():
            show(f"trained supernet: {self.folder}; curves: tensorboard --logdir {self.folder}")


def _take_source(options: Any, subnet: str) -> None:
    """Set the options of a supernet to what an exported subnet was cut out of; its layout is in the folder."""
    for name, value in SupernetSource.of_subnet(subnet).to_dict().items():
        if name != "layout":
            options[name] = value


def _listed(given: Any) -> list[Any]:
    """The values of an option that takes one or a list of them."""
    return [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]


def train(words: list[str]) -> None:
    """Run fit, validate or test.

    Args:
        words: the command and its options, as `name_configurations` gives them.

    Raises:
        UsageError: settings that contradict each other, or the checkpoint.
        TrainingError: a block that can't be compiled.
        StoppedError: the process was told to end by SIGTERM; the checkpoint is up to date.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    _import_public_classes()
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 asks PyTorch in a form that PyTorch 2.14 calls old
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            SupernetCLI(words)
    except MisconfigurationException as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise _objection(error) or error from error
    except RuntimeError as error:
        raise _compile_error(error) or error from error
    except SIGTERMException as end:
        raise StoppedError(f"ended by SIGTERM; {_going_on(words)}") from end
    except SystemExit as end:
        # Lightning answers Ctrl-C by winding up and leaving with status 1
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise


def _going_on(words: list[str]) -> str:
    """How a command that was ended goes on."""
    if words[0] != "fit":
        return "nothing was written, run the command again"
    return "the training continues from the last checkpoint with the same command and --ckpt_path last"


def _import_public_classes() -> None:
    """Import the modules of all that `trainers` offers: jsonargparse finds `Digits` only among loaded classes."""
    for name in dir(trainers):
        getattr(trainers, name)


def _objection(error: ValueError) -> UsageError | None:
    """The message of an optional class about its arguments; None if `error` is something else."""
    found = _OPTIONAL.match(str(error))
    return None if found is None else UsageError(found[1])


def _compile_error(error: RuntimeError) -> TrainingError | None:
    """The error for a block that can't be compiled; None if `error` is something else."""
    from torch._dynamo.exc import TorchDynamoException

    if not isinstance(error, TorchDynamoException):
        return None
    return TrainingError(
        f"a block can't be compiled ({first_line(error)}); on CPUs inductor needs a C++ compiler. Train without: "
        "--model.step.compile false"
    )


# jsonargparse on a class that may be null: what the class itself objects to
_OPTIONAL = re.compile(r"Does not validate against any of.*?Errors:\s*- (.*?)(?=\n\s*- Expected a <class)", re.DOTALL)
