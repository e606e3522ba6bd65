"""Checks before a training begins or resumes: of an earlier run in its folder, and of the checkpoint to go on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elastic.errors import CheckpointError, TrainingError
from trainers.configurations import is_inline, parse_configuration, read_configuration

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

LAST = "last.ckpt"
"""The checkpoint in a run's folder."""

_AS_THE_PARAMETER = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
"""States of optimisers, by name, that have their parameter's shape."""
_CURE = "take another checkpoint, or begin a run of another --name"


def refuse_former_run(words: Sequence[str]) -> None:
    """Check that a training replaces no other, as far as its words and configurations say, before it is made.

    Args:
        words: the command line from `fit` on, its configurations by their paths.

    Raises:
        TrainingError: as for `check_former_run`.
    """
    said: dict[str, Any] = {"name": "run", "runs": "runs", "ckpt_path": None, "overwrite": False}
    for option, value in _options(words):
        if option in ("-c", "--config"):
            read = parse_configuration(value, option) if is_inline(value) else read_configuration(value)
            said |= {name: read[name] for name in said if name in read}
            said["overwrite"] |= "fast_dev_run" in str(read.get("trainer"))
        elif option in ("--overwrite", "--print_config", "--trainer.fast_dev_run"):
            said["overwrite"] = value != "false"
        elif option.removeprefix("--") in said:
            said[option.removeprefix("--")] = value
    if not said["overwrite"]:
        folder = Path(str(said["runs"])) / str(said["name"])
        check_former_run(folder, str(folder / LAST) if said["ckpt_path"] == "last" else said["ckpt_path"])


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options with their values."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        if option.startswith("-"):
            yield option, value if equals else following


def check_former_run(folder: Path, continued: str | None) -> None:
    """Check that a training replaces no other: neither its checkpoint nor the supernet that it shipped.

    Args:
        folder: the run's folder.
        continued: the checkpoint that the training goes on from; None: it begins anew.

    Raises:
        TrainingError: there is an earlier run, or a configuration that no run wrote.
    """
    last = folder / LAST
    if last.exists():
        if continued is None:
            cure = "continue it with --ckpt_path last, or give this run another --name"
        elif Path(continued).resolve() != last.resolve():
            cure = "give this run another --name"
        else:
            return
        raise TrainingError(f"{last} is of an earlier run; {cure}; --overwrite replaces it")
    trained = [name for name in ("supernet.json", "supernet.safetensors") if (folder / name).exists()]
    config = folder / "config.yaml"
    if config.exists() and "seed_everything:" not in config.read_text("utf-8", "replace"):
        trained.append(config.name)
    if trained:
        raise TrainingError(
            f"{folder} holds {trained[0]}, and no {LAST} to go on from; give this run another --name; --overwrite "
            "replaces it"
        )


def check_resumable(checkpoint: Mapping[str, Any], loops: Mapping[str, Any]) -> None:
    """Check the parts of a checkpoint that Lightning restores.

    Args:
        checkpoint: as it was read.
        loops: the state of a training's loops, whose keys and types the checkpoint's must have.

    Raises:
        CheckpointError: a part is missing, or of another type; the message says where.
    """
    for name, wanted in (("epoch", int), ("global_step", int), ("optimizer_states", list), ("lr_schedulers", list)):
        if type(checkpoint.get(name)) is not wanted:
            raise _broken(name, checkpoint.get(name), wanted.__name__)
    _check_alike(checkpoint.get("loops"), {"fit_loop": loops}, "loops")
    callbacks = checkpoint.get("callbacks", {})
    if not isinstance(callbacks, dict) or not all(isinstance(one, dict) for one in callbacks.values()):
        raise _broken("callbacks", callbacks, "states by name")
    for at, state in enumerate(checkpoint["optimizer_states"]):
        _check_alike(state, {"state": {}, "param_groups": []}, f"optimizer_states.{at}")


def check_optimizers(states: Sequence[Mapping[str, Any]], optimizers: Sequence[Optimizer]) -> None:
    """Check that the optimisers' states in a checkpoint are of tensors of these shapes.

    Raises:
        CheckpointError: they aren't.
    """
    if len(states) != len(optimizers):
        raise CheckpointError(f"the checkpoint has {len(states)} optimizers, this training {len(optimizers)}; {_CURE}")
    for state, optimizer in zip(states, optimizers, strict=True):
        for given, own in zip(state["param_groups"], optimizer.param_groups, strict=False):
            if not isinstance(given, dict) or not isinstance(given.get("params"), list):
                raise _broken("param_groups", given, "groups of parameters")
            if len(given["params"]) != len(own["params"]):
                raise _broken("param_groups", len(given["params"]), f"{len(own['params'])} parameters")
            for index, parameter in zip(given["params"], own["params"], strict=True):
                _check_state(state["state"].get(index, {}), parameter, index)
        if len(state["param_groups"]) != len(optimizer.param_groups):
            raise _broken("param_groups", len(state["param_groups"]), f"{len(optimizer.param_groups)} groups")


def _check_state(state: Any, parameter: Tensor, index: Any) -> None:
    from torch import Tensor

    values = state.items() if isinstance(state, Mapping) else [("state", state)]
    for name, value in values:
        if name in _AS_THE_PARAMETER and isinstance(value, Tensor):
            right = value.shape == parameter.shape
        else:
            right = name != "state" and (value is None or isinstance(value, (int, float, Tensor)))
        if not right:
            shape = tuple(value.shape) if isinstance(value, Tensor) else value
            raise _broken(f"optimizer_states.state.{index}.{name}", shape, f"a tensor {tuple(parameter.shape)}")


def _check_alike(given: Any, wanted: Any, place: str) -> None:
    """Check that `given` has the keys of `wanted`, and values of its types; what is None may be anything."""
    if isinstance(wanted, Mapping):
        if not isinstance(given, Mapping):
            raise _broken(place, given, "a mapping")
        for key, value in wanted.items():
            if key not in given:
                raise CheckpointError(f"the checkpoint is broken: {place} lacks {key!r}; {_CURE}")
            _check_alike(given[key], value, f"{place}.{key}")
    elif wanted is not None and type(given) is not type(wanted):
        raise _broken(place, given, f"a {type(wanted).__name__}")
    elif type(given) is int and not 0 <= given < 1 << 62:
        raise _broken(place, given, "a count")


def _broken(place: str, given: Any, wanted: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint is broken: {place} is {given!r:.60}, wanted {wanted}; {_CURE}")
