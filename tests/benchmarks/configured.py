"""Trainings as `elastic fit` would build them, from configurations."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ActionConfigFile, ArgumentParser

from trainers import SupernetModule
from trainers.methods import hidden_states  # noqa: F401 - so that its class can be named without a path


def configured_module(configurations: Sequence[str | Path]) -> SupernetModule:
    """The module that the `model` sections of files describe, the later ones on top of the earlier ones."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_class_arguments(SupernetModule, "model")
    for key, value in (("sampler", "samplers.SandwichSampler"), ("distiller", "distillers.SoftTargets"),
                       ("teacher", "teachers.InPlaceTeacher")):  # fmt: skip
        parser.set_defaults({f"model.{key}": {"class_path": f"trainers.methods.{value}"}})
    words = [word for path in configurations for word in ("--config", str(path))]
    return parser.instantiate_classes(parser.parse_args(words)).model
