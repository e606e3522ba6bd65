"""Checks of a checkpoint before a training resumes from it, made before anything is restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from elastic.errors import CheckpointError

_AS_THE_PARAMETER = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
"""States of optimisers, by name, that have their parameter's shape."""
_CURE = "take another checkpoint, or begin a run of another --name"


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
