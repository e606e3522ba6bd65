"""Options of the trainer that mean something else as a whole number than as a fraction."""

import subprocess
import sys
from inspect import signature

import pytest
import yaml
from examples import mostly_swept
from lightning.pytorch import Trainer

from trainers.cli.main import main
from trainers.trainer import SupernetTrainer

LIMITS = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
    "val_check_interval",
)

# Another library's types are evaluated first: `typing` keeps them, and gives them to whoever asks for equal ones.
FLOAT_FIRST = """
from typing import Optional, Union
from datetime import timedelta
Optional[Union[float, int]], Union[float, int], Optional[Union[float, int, str, timedelta, dict[str, int]]]
from trainers.cli.main import main
raise SystemExit(main())
"""


@pytest.mark.parametrize("float_first", mostly_swept([False, True], [False]))
def test_a_whole_number_stays_one_and_a_fraction_one(float_first, tmp_path, capsys):
    texts = dict(zip(LIMITS, ["1", "3", "0.5", "1.0", "1", "1"], strict=True))
    path = tmp_path / "limits.yaml"
    path.write_text(yaml.safe_dump({"trainer": {name: yaml.safe_load(text) for name, text in texts.items()}}))
    typed = [word for name, text in texts.items() for word in (f"--trainer.{name}", text)]
    for given in (typed,) if float_first else (typed, ["--config", str(path)]):
        words = ["fit", "--config", "digits", "--print_config", *given]
        if float_first:
            shown = subprocess.run([sys.executable, "-c", FLOAT_FIRST, *words], capture_output=True, check=True).stdout
        else:
            assert main(words) == 0
            shown = capsys.readouterr().out
        found = yaml.safe_load(shown)["trainer"]
        for name, text in texts.items():
            wanted = yaml.safe_load(text)
            assert (found[name], type(found[name])) == (wanted, type(wanted)), name


def test_one_batch_is_not_all_of_them():
    quiet = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    made = SupernetTrainer(**dict.fromkeys(LIMITS[:4], 1), **quiet)
    assert [getattr(made, name) for name in LIMITS[:4]] == [1] * 4
    assert all(type(getattr(made, name)) is int for name in LIMITS[:4])


def test_options_and_defaults_are_lightnings(capsys):
    assert main(["fit", "--help_all"]) == 0
    shown = capsys.readouterr().out
    options = signature(Trainer).parameters
    assert [name for name in options if f"--trainer.{name}" not in shown] == []
    ours = signature(SupernetTrainer).parameters
    assert {name: ours[name].default for name in LIMITS} == {name: options[name].default for name in LIMITS}
