"""Classes in configurations: where those of former versions are now, and whose code a configuration may name.

A configuration says with `class_path` which class is made, and jsonargparse imports and calls whatever stands there.
That is right for a training's own `--config`. What lies in a folder from elsewhere is data, and is checked first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from inspect import isclass
from pathlib import Path
from typing import Any

from elastic.errors import UsageError

_FOLDERS = {
    "data": "digits glue image_data image_folder text timm_data",
    "methods": "adversary curriculum distillers hidden_states macs_samplers optimizers samplers teachers",
    "robust": "attacks",
    "steps": "conflicts",
}
FORMER_MODULES = {name: f"{folder}.{name}" for folder, names in _FOLDERS.items() for name in names.split()} | {
    "data": "data.supernet_data",
    "module": "supernet_module",
    "robust.training_attack": "methods.adversary",
    "robust_distillers": "robust.distillers",
    "robust_losses": "robust.losses",
    "robustness": "robust.accuracy",
    "steps": "steps.options",
    "steps.steps": "steps.options",
}
"""Modules of `trainers` that class paths in older configurations name, and where their classes are now."""

_FORMER_CLASS = re.compile(rf"(?<![\w.])trainers\.({'|'.join(map(re.escape, FORMER_MODULES))})\.(?=[A-Z])")
_BARE_CLASS = re.compile(r"""(class_path["']?\s*:\s*["']?)([A-Z]\w*)(?![\w.])""")


def current_paths(text: str) -> str:
    """A configuration or a word of a command line, with each class of `trainers` under the path that it has now.

    Without a path, jsonargparse doesn't find a class that is an argument of another class.
    """
    public = _public_names()
    text = _FORMER_CLASS.sub(lambda found: f"trainers.{FORMER_MODULES[found[1]]}.", text)
    return _BARE_CLASS.sub(lambda found: f"{found[1]}trainers.{found[2]}" if found[2] in public else found[0], text)


@cache
def _public_names() -> frozenset[str]:
    return frozenset(dir(import_module(__package__)))


# --- whose classes those are ----------------------------------------------------------------------------------------

TRUST = "--trust_code"
"""The option by which whoever reads a folder lets it run code."""

FREE = frozenset({
    "model_args", "choices", "options", "couple", "arch", "normalize", "layout",
    "mixup", "train_transform", "eval_transform",
})  # fmt: skip
"""Options of this project's classes that hold plain data of any kind."""

_CLASS = "class_path"
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_PARTS = frozenset({
    "data", "sampler", "distiller", "teacher", "alone", "supernet", "curriculum", "adversary", "optimizer", "step",
    "validation", "phases",
})  # fmt: skip
"""Options that are classes, or lists of them; jsonargparse takes one's name, or a file with it, for the class."""
_PATHS = frozenset({"default_root_dir", "root", "runs", "name", "tokenizer", "subnet"})
_SUFFIXES = frozenset({".yaml", ".yml", ".json", ".py"})
_LIGHTNINGS = tuple(
    f"lightning.pytorch.callbacks.{name}"
    for name in ("EarlyStopping", "LearningRateMonitor", "RichProgressBar", "TQDMProgressBar")
)
"""Callbacks of Lightning that run nothing which a configuration names."""


def named_classes(values: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every `class_path` in a configuration: its place and its value."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key == _CLASS:
                yield place, value
            else:
                yield from named_classes(value, f"{place}.{key}" if place else str(key))
    elif isinstance(values, list):
        for at, value in enumerate(values):
            yield from named_classes(value, f"{place}.{at}")


def refuse_hidden_classes(values: Any, origin: str) -> None:
    """Check that no class is named where plain data is wanted; jsonargparse would call it.

    Args:
        values: a configuration, or a part of one.
        origin: where it is from, for the message.

    Raises:
        UsageError: there is one.
    """
    for place, name in named_classes(values):
        free = next((word for word in place.split(".") if word in FREE), None)
        if free is not None:
            raise UsageError(
                f"{origin}: {place} names the class {name!r:.80}, and {free} holds plain data; remove class_path there"
            )


def refuse_foreign_classes(values: Any, origin: str) -> None:
    """Check that a configuration which the user didn't write names classes of this project only.

    Args:
        values: a run's configuration, or its data section as `{"data": …}`.
        origin: where it is from, for the message.

    Raises:
        UsageError: it names something else, or names one where plain data is wanted.
    """
    refuse_hidden_classes(values, origin)
    for place, name in named_classes(values):
        unknown = place == "data" and isinstance(name, str) and name.isidentifier()  # which nothing is imported for
        if not _is_ours(name) and not unknown:
            raise _foreign(place, name, origin)
    for words, text in _texts(values):
        if _may_be_imported(words, text) and not _is_ours(text):
            raise _foreign(".".join(words), text, origin)


def _texts(values: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key != _CLASS:
                yield from _texts(value, (*place, str(key)))
    elif isinstance(values, list):
        for value in values:
            yield from _texts(value, place)
    elif isinstance(values, str):
        yield place, values


def _may_be_imported(place: tuple[str, ...], text: str) -> bool:
    """Whether jsonargparse would import a class or function from this text, as in `callbacks: package.Class`."""
    if not place or place[-1] in _PATHS:
        return False
    if place[-1] in _PARTS or place in {("model",), ("trainer",)}:
        return True
    return place[0] == "trainer" and (_DOTTED.fullmatch(text) is not None or Path(text).suffix in _SUFFIXES)


def _foreign(place: str, name: Any, origin: str) -> UsageError:
    return UsageError(
        f"{origin}: {place or 'it'} names {name!r:.80}, which isn't a class of this project, and code that a folder "
        f"names isn't run; if you wrote the class, or trust whoever did, add {TRUST}"
    )


def own_class(name: Any) -> type[Any] | None:
    """The public class of this project that a class path names, imported from where it really is; else None."""
    return _own_classes().get(current_paths(name)) if isinstance(name, str) else None


def _is_ours(name: Any) -> bool:
    return name in _LIGHTNINGS or own_class(name) is not None


@cache
def _own_classes() -> dict[str, type[Any]]:
    """All public classes by their paths: `Digits`, `trainers.Digits`, `trainers.data.digits.Digits`."""
    package = import_module(__package__)
    public = {name: getattr(package, name) for name in dir(package)}
    classes = {name: one for name, one in public.items() if isclass(one)}
    named = [*classes.items(), *((f"{__package__}.{name}", one) for name, one in classes.items())]
    return dict(named) | {f"{one.__module__}.{one.__qualname__}": one for one in classes.values()}
