"""Configurations that were written before modules moved into folders."""

from inspect import getmodule
from pkgutil import resolve_name

import pytest
import yaml

from elastic.errors import UsageError
from trainers.batchnorm_settings import statistics_of_run
from trainers.checkpoints import read_checkpoint
from trainers.class_paths import FORMER_MODULES, current_paths
from trainers.cli.main import main
from trainers.jobs.data_section import load_data

FORMER_CLASSES = {
    "adversary": "Adversary",
    "attacks": "Threat",
    "conflicts": "GradientProjection",
    "curriculum": "Curriculum Phase",
    "data": "SupernetData",
    "digits": "Digits",
    "distillers": "AlphaDivergence Distiller NoDistiller SoftTargets",
    "glue": "Glue",
    "hidden_states": "HiddenStates",
    "image_data": "ImageDataModule",
    "image_folder": "ImageFolder",
    "macs_samplers": "BalancedSampler ComplexityWalkSampler ParetoSampler",
    "module": "SupernetModule",
    "optimizers": "OptimizerOptions",
    "robust.training_attack": "Adversary",
    "robust_distillers": "ARD RSLAD AdaAD",
    "robust_losses": "HAT MART PGDAT TRADES",
    "robustness": "RobustAccuracy",
    "samplers": "NestedSampler RoundRobinSampler Sampler SandwichSampler StrictlyFairSampler UniformSampler",
    "steps": "StepOptions",
    "steps.steps": "StepOptions",
    "teachers": "InPlaceTeacher ModelTeacher SnapshotTeacher Teacher",
    "timm_data": "TimmData",
    "validation": "ValidationOptions",
    "callbacks": "LastValidation",
}
"""What was in which module of `trainers` at some time."""


@pytest.mark.parametrize(
    "path", [f"{module}.{name}" for module, names in FORMER_CLASSES.items() for name in names.split()]
)
def test_a_class_is_found_under_its_former_path_and_under_its_own(path):
    found = resolve_name(current_paths(f"trainers.{path}"))
    assert found.__name__ == path.rpartition(".")[2]
    own = f"{found.__module__}.{found.__qualname__}"
    assert current_paths(own) == own


def test_every_former_module_has_a_successor():
    for module in FORMER_MODULES.values():
        assert getmodule(resolve_name(f"trainers.{module}")) is not None


def test_text_that_names_no_former_class_stays_as_it_is():
    for text in (
        "trainers.SandwichSampler",
        "trainers.data.digits.Digits",
        "own.trainers.samplers.One",
        "own_trainers.samplers.One",
        "trainers.steps",
    ):
        assert current_paths(text) == text


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("name: a\nmodel: [1, 2\n", ", line 3, column 1", "expected ',' or ']', but got"),
        ("a: b: c\n", ", line 1, column 5", "mapping values are not allowed here"),
        ("a: 1\n\tb: 2\n", ", line 2, column 1", "found character '\\t' that cannot start any token"),
        ("- 1\n- 2\n", "", "holds a list, wanted options"),
        ("", "", "holds nothing, wanted options"),
        ("just words\n", "", "holds a str, wanted options"),
    ],
)
def test_yaml_that_is_broken_is_named_with_its_line(text, where, problem, tmp_path, capsys):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    for words in (["fit"], ["validate"], ["search", "net"], ["inspect", "resnet18"], ["conformance"]):
        for given in (["--config", str(path)], [f"--config={path}"]):
            assert main([*words, *given]) == 2
            said = capsys.readouterr().err
            assert said.startswith(f"elastic: {path}{where}"), said
            assert problem in said
            assert said.count("\n") == 1
            assert "unicode string" not in said
    if where:
        with pytest.raises(UsageError, match=f"{path}{where}"):
            load_data(path)


def test_yaml_in_the_command_line_is_read_likewise(capsys):
    assert main(["fit", "--config", "{name: [1}"]) == 2
    assert capsys.readouterr().err.startswith("elastic: --config, line 1, column 10: expected ',' or ']'")


def test_a_run_that_was_written_with_former_paths_is_resumed_and_read(config, tmp_path):
    values = yaml.safe_load(config.read_text())
    values["model"] |= {
        "sampler": {"class_path": "trainers.samplers.SandwichSampler", "init_args": {"n_random": 0}},
        "distiller": {
            "class_path": "trainers.robust_distillers.RSLAD",
            "init_args": {"alone": {"class_path": "trainers.robust_losses.PGDAT"}},
        },
        "adversary": {"steps": 1},
    }
    values["data"] = {"class_path": "trainers.digits.Digits", "init_args": {"batch_size": 16, "raw": True}}
    config.write_text(yaml.safe_dump(values))
    fit = ["fit", "--config", str(config), "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
    assert main([*fit, "--trainer.max_epochs", "1", "--model.teacher", "trainers.teachers.InPlaceTeacher"]) == 0
    run = tmp_path / "runs" / "tiny"
    written = (run / "config.yaml").read_text()
    assert current_paths(written) == written, "what is written names classes where they are"
    (run / "config.yaml").write_text(config.read_text())
    assert load_data(run / "config.yaml").batch_size == 16
    assert statistics_of_run(run / "config.yaml").keywords["adversary"].steps == 1
    resumed = ["fit", "--config", str(run / "config.yaml"), *fit[3:], "--ckpt_path", "last"]
    assert main([*resumed, "--model.teacher.class_path=trainers.teachers.InPlaceTeacher"]) == 0
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 2
