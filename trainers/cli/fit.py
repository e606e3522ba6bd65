"""`elastic fit`, `validate` and `test`: the common options on one screen; the parser of all of them is Lightning's."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from elastic.errors import UsageError
from elastic.support.files import near_folder
from elastic.support.progress import waiting
from elastic.support.text import did_you_mean
from trainers.class_paths import TRUST, refuse_foreign_classes
from trainers.cli.commands import COMMANDS
from trainers.configurations import name_configurations, read_configuration
from trainers.fit_folder import SHORT, expand
from trainers.natural_forms import spell_out
from trainers.resuming import refuse_former_run

OPTIONS = {
    "--config": "a YAML file, or the name of a shipped one: elastic fit --config digits; several are merged",
    "--name": "the run's name; its files lie in RUNS/NAME (default: run)",
    "--runs": "the folder of all runs (default: runs)",
    "--seed_everything": "seeds all that is drawn at random (default: 0)",
    "--ckpt_path": "a checkpoint; last: the run's own, to go on with an interrupted training",
    "--subnet": "train a single subnet further: the folder that elastic extract wrote",
    "--keep_best": "the metric of the validation whose best supernet is kept, such as val/largest/accuracy",
    "--model.supernet.model": "a timm model, transformers:NAME, or a name that elastic zoo list shows",
    "--model.supernet.choices": "the search space, such as depth=2,3,4,width=0.5,1.0 or {depth: [2, 3, 4]}",
    "--model.curriculum.phases": "the phases of training: epochs, learning_rate and choices of each",
    "--model.sampler": "which subnets a step trains, such as SandwichSampler",
    "--model.distiller": "what subnets learn from a teacher, such as SoftTargets",
    "--data": "the data module, such as ImageDataModule or Digits",
    "--data.batch_size": "inputs in a batch",
    "--trainer.max_epochs": "how many epochs; by default those of all phases",
    "--trainer.devices": "how many GPUs; auto: all",
    "--overwrite": "train anew into a folder that holds an earlier run",
    "--trust_code": "of validate RUN and test RUN: run code that the folder's config.yaml names",
    "--print_config": "print the whole configuration, with what is given so far, and exit",
}
"""The common options, as `--help` shows them and the shell completes them; `--help_all` shows all."""

_MAPPINGS = {
    "--model.supernet.choices": "dict[str, list[int | float] | None]",
    "--model.supernet.model_args": "dict[str, Any]",
    "--model.supernet.options": "dict[str, Any]",
    "--model.supernet.couple": "dict[str, str]",
    "--overwrite": "bool",
}
"""Options that may be typed as `depth=2,3,width=0.5`, and a switch."""

_RUN_NEEDED = "a run's folder (elastic {} runs/digits)"
_GIVES_A_MODEL = ("-c", "--config", "--subnet", "--model", "--print_config")


def fit(words: list[str]) -> None:
    """Train a supernet; `words` are the options.

    Raises:
        UsageError: an option or a value that can't be understood, or no model at all.
    """
    _run("fit", words)


def validate(words: list[str]) -> None:
    """Evaluate subnets on the validation images; `words` are a run's folder, or none, and the options.

    Raises:
        UsageError: as for `fit`.
    """
    _run("validate", words)


def test(words: list[str]) -> None:
    """Evaluate subnets on the test images; `words` are as for `validate`.

    Raises:
        UsageError: as for `fit`.
    """
    _run("test", words)


def _run(name: str, words: list[str]) -> None:
    if {"-h", "--help"} & set(words):
        sys.stdout.write(_help(name))
        return
    # what can be said at once isn't said after seconds of imports
    if "--help_all" in words:
        words = ["--help"]
    else:
        _refuse_misspelt(words)
        _refuse_nothing(name, words)
    words = words if name == "fit" or not _names_a_folder(words) else _of_run(name, words)
    named = name_configurations(expand([name, *spell_out(words, _MAPPINGS)]))
    if name == "fit":
        refuse_former_run(named)

    with waiting("loading PyTorch and Lightning"):
        from trainers.lightning_cli import train

    train(named)


def _refuse_nothing(name: str, words: list[str]) -> None:
    """Refuse a command line that names no model.

    Raises:
        UsageError: neither a folder nor a configuration is given.
    """
    if not any(word.startswith(_GIVES_A_MODEL) for word in words) and not _names_a_folder(words):
        folder = "a folder of images (elastic fit photos --model NAME)" if name == "fit" else _RUN_NEEDED.format(name)
        raise UsageError(f"{name} needs {folder}, or --config: a YAML file, or a shipped one's name, as digits")


def _refuse_misspelt(words: list[str]) -> None:
    """Refuse `--modle x`: that there is no model isn't what is wrong.

    Raises:
        UsageError: an option that is none of the common ones and near one of them.
    """
    known = sorted({*OPTIONS, *SHORT})
    sections = {name.partition(".")[0] for name in known}
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and name.partition(".")[0] not in sections:
            near = did_you_mean(name, known, "")
            if near:
                raise UsageError(f"no option {name}; {near}")


def _names_a_folder(words: list[str]) -> bool:
    return bool(words) and not words[0].startswith("-")


def _of_run(name: str, words: list[str]) -> list[str]:
    """The long form of `validate RUN …` and `test RUN …`: the run's configuration, and its last checkpoint.

    Raises:
        UsageError: no such folder, or none that a training left.
    """
    given, *rest = words
    folder = Path(given)
    config, last = folder / "config.yaml", folder / "last.ckpt"
    if not folder.is_dir():
        if folder.exists():
            raise UsageError(f"{folder} is a file; give the run's folder, or elastic {name} --config {folder}")
        raise UsageError(f"there is no folder {folder}; {near_folder(folder, 'config.yaml', _RUN)}")
    missing = [path.name for path in (config, last) if not path.is_file()]
    if missing:
        raise UsageError(f"{folder} is no run's folder: it lacks {' and '.join(missing)}; wanted {_RUN}")
    place = folder.resolve()
    if TRUST in rest:
        rest.remove(TRUST)
    else:
        refuse_foreign_classes(read_configuration(config), str(config))
    run = ["--config", str(config), "--runs", str(place.parent), "--name", place.name]
    chosen = any(word.partition("=")[0] == "--ckpt_path" for word in rest)
    return [*run, *rest] if chosen else [*run, *rest, "--ckpt_path", str(last)]


_RUN = "what elastic fit wrote: a folder with config.yaml and last.ckpt, such as runs/digits"


def _help(name: str) -> str:
    short = f"       elastic {name} {'FOLDER' if name == 'fit' else 'RUN'} [OPTION ...]\n"
    of_folders = f"\nfor a folder of images, FOLDER/train/CLASS/*:\n{_listed(SHORT)}\n" if name == "fit" else ""
    return (
        f"usage: elastic {name} --config CONFIG [OPTION ...]\n{short}\n{COMMANDS[name].summary}\n{of_folders}"
        f"\noptions:\n{_listed(OPTIONS)}\n\n"
        "--help_all shows all options; each can also stand in the YAML file, its dots as indentation.\n"
    )


def _listed(options: Mapping[str, str]) -> str:
    width = max(map(len, OPTIONS)) + 4
    lines = [
        textwrap.fill(text, 100, initial_indent=f"  {option}".ljust(width), subsequent_indent=" " * width)
        for option, text in options.items()
    ]
    return "\n".join(lines)
