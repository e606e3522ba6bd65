"""The command line, in process: every shipped configuration, resuming, and what each mistake is answered with."""

import csv
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml

import trainers
from elastic import load_supernet
from elastic.errors import UsageError
from trainers.checkpoints import read_checkpoint
from trainers.cli.main import main
from trainers.configurations import find_configuration, name_configurations
from trainers.data.glue_tasks import TASKS

CONFIGS = sorted((Path(trainers.__file__).parent / "configs").glob("*.yaml"))
COMPLETE = [  # methods: test_configs.py; text: test_dynabert.py
    path for path in CONFIGS if yaml.safe_load(path.read_text()).get("data", {}).get("class_path", "Glue") != "Glue"
]
SCALED_DOWN = {
    "--trainer.max_epochs": "1",
    "--trainer.check_val_every_n_epoch": "1",
    "--trainer.limit_train_batches": "2",
    "--trainer.limit_val_batches": "1",
    "--trainer.log_every_n_steps": "1",
    "--trainer.accelerator": "cpu",
    "--model.validation.middles": "1",
    "--model.validation.calibration_batches": "1",
    "--data.batch_size": "4",
    "--data.workers": "0",
}


def answer(capfd, args):
    """The exit status and the one line on stderr."""
    capfd.readouterr()
    status = main(args)
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return status, lines[0]


@pytest.mark.filterwarnings(r"ignore:unclosed file .*\.png:ResourceWarning")  # timm leaves closing to Python
@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: path.stem)
def test_shipped_configuration_trains(path, tmp_path, image_folder, fashion_files):
    options = dict(SCALED_DOWN)
    name = yaml.safe_load(path.read_text())["name"]
    if name in ("fashion_mnist", "ofa_fashion_mnist", "robust_fashion_mnist"):
        options["--data.root"] = str(fashion_files)
    if name in ("ofa_cifar10", "proard_cifar10"):  # torchvision would check its files' digests
        options |= {"--data.root": str(image_folder), "--data.name": "", "--data.test_split": "val"}
    if name in ("imagenet_mobilenetv3", "ofa_imagenet", "folder"):
        options |= {"--data.root": str(image_folder), "--data.input_size": "[3, 64, 64]"}
        options |= {"--model.supernet.input_size": "[3, 64, 64]", "--model.supernet.options": "{resolutions: [48, 64]}"}
    words = [word for pair in options.items() for word in pair]
    assert main(["fit", "--config", str(path), "--runs", str(tmp_path / "runs"), *words]) == 0
    run = tmp_path / "runs" / name
    assert {"last.ckpt", "config.yaml", "supernet.json", "supernet.safetensors", "csv"} <= {
        f.name for f in run.iterdir()
    }
    columns = (run / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "val/smallest/accuracy", "val/largest/accuracy"} <= set(columns)
    assert "val/middle_1/accuracy" in columns or name == "ofa_fashion_mnist"  # its first phase has none


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(config, tmp_path):
    assert main(["fit", "--config", str(config), "--name", "whole"]) == 0
    assert main(["fit", "--config", str(config), "--name", "halves", "--trainer.max_epochs", "1"]) == 0
    assert main(["fit", "--config", str(config), "--name", "halves", "--ckpt_path", "last"]) == 0
    whole, halves = (read_checkpoint(tmp_path / "runs" / name / "last.ckpt") for name in ("whole", "halves"))
    assert whole["global_step"] == halves["global_step"] == 6
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, halves["state_dict"][name]), name


def test_validate_and_test_show_their_subnets(config, capsys):
    assert main(["fit", "--config", str(config)]) == 0
    for command in ("validate", "test"):
        capsys.readouterr()
        assert main([command, "--config", str(config), "--ckpt_path", "last"]) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in ("smallest", "middle_1", "largest", "MACs", "accuracy"))


def test_a_runs_folder_is_enough_to_validate_and_test(config, tmp_path, capsys, monkeypatch):
    assert main(["fit", "--config", str(config)]) == 0
    run = tmp_path / "runs" / "tiny"
    moved = run.rename(tmp_path / "moved")
    for command in ("validate", "test"):
        shown = []
        for words in ([str(moved)], ["--config", str(moved / "config.yaml"), "--ckpt_path", str(moved / "last.ckpt")]):
            capsys.readouterr()
            assert main([command, *words]) == 0
            lines = capsys.readouterr().out.splitlines()
            shown.append([line for line in lines if {"smallest", "largest"} & set(line.split())])
        assert len(shown[0]) == 2
        assert shown[0] == shown[1]
    assert main(["test", str(moved), "--ckpt_path", "last", "--trainer.limit_test_batches", "1"]) == 0
    monkeypatch.chdir(tmp_path)
    moved.rename(tmp_path / "runs" / "tiny")
    assert answer(capsys, ["validate", "tiny"]) == (
        2,
        f"elastic: there is no folder tiny; did you mean {Path('runs') / 'tiny'}?",
    )
    (tmp_path / "runs" / "tiny" / "last.ckpt").unlink()
    said = answer(capsys, ["test", "runs/tiny"])[1]
    assert "runs/tiny is no run's folder: it lacks last.ckpt; wanted what elastic fit wrote" in said
    assert "is a file; give the run's folder" in answer(capsys, ["test", str(config)])[1]


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"elastic {version('elastic-supernets')}\n"


def test_what_a_data_module_objects_to_is_one_sentence(capfd):
    status, said = answer(capfd, ["fit", "--config", "dynabert_sst2", "--data.task", "sst"])
    assert (status, said) == (2, f"elastic: GLUE has no task 'sst'; it has {', '.join(TASKS)}")


def test_a_folder_is_no_data_of_a_text_supernet(capfd, tmp_path):
    load_supernet("dynabert_sst2")  # what transformers imports may log, the first time
    status, said = answer(capfd, ["extract", "dynabert_sst2", "--arch", "smallest", "--data", str(tmp_path)])
    assert status == 2
    assert "reads text; give a YAML file with the data section" in said


def test_unknown_command(capfd):
    assert answer(capfd, ["serch"]) == (2, "elastic: no command 'serch'; did you mean search?")
    assert answer(capfd, ["zzz"])[1].startswith("elastic: no command 'zzz'; there are fit, validate, test, ")


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ((), "sead", "does not accept option 'sead'"),
        (("model",), "curiculum", "does not accept option 'model.curiculum'"),
        (("model", "supernet"), "modl", "does not accept option 'model.supernet.modl'"),
        (("data", "init_args"), "sise", "\"data\": Problem with given class_path .*Option 'sise' is not"),
        (("trainer",), "max_epoch", "does not accept option 'trainer.max_epoch'"),
    ],
)
def test_key_that_does_not_exist(config, capfd, section, key, message):
    values = yaml.safe_load(config.read_text())
    inner = values
    for name in section:
        inner = inner[name]
    inner[key] = 3
    config.write_text(yaml.safe_dump(values))
    status, line = answer(capfd, ["fit", "--config", str(config)])
    assert status == 2
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(line)


@pytest.mark.parametrize(
    ("path", "empty", "key"),
    [
        (("model",), {}, "model.curiculum"),
        (("model",), {"phases": {"first": {}}}, "model.curiculum"),
        (("model", "curriculum", "phases", 0), {}, "model.curriculum.phases.0.curiculum"),
        (("data", "init_args"), {}, "data.init_args.curiculum"),
        ((), {}, "curiculum"),
    ],
)
def test_empty_key_that_does_not_exist(config, capfd, path, empty, key):
    values = yaml.safe_load(config.read_text())
    inner = values
    for name in path:
        inner = inner[name]
    inner["curiculum"] = empty
    values["model"]["optimizer"] = values["model"]["supernet"]["choices"] = {}  # these exist
    config.write_text(yaml.safe_dump(values))
    status, line = answer(capfd, ["fit", "--config", str(config)])
    assert status == 2
    assert line.endswith(f"tiny.yaml: {key!r} is empty, and there is no option of that name; correct or remove it")


def test_missing_configuration(capfd, tmp_path):
    for words in (["--config", str(tmp_path / "none.yaml")], [f"--config={tmp_path / 'none.yaml'}"]):
        status, line = answer(capfd, ["fit", *words])
        assert status == 2
        assert "there is no configuration" in line
        assert "none.yaml; give a YAML file, or a shipped one: alpha_divergence, compofa, digit_scenes, digits" in line


def test_shipped_configuration_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = {path.stem: str(path) for path in CONFIGS}
    assert {name: find_configuration(name) for name in shipped} == shipped
    assert name_configurations(["fit", "-c", "digits", "--config=digits.yaml", "--name", "digits"]) == [
        "fit", "-c", shipped["digits"], f"--config={shipped['digits']}", "--name", "digits"
    ]  # fmt: skip
    assert find_configuration("{name: digits}") == "{name: digits}"
    Path("digits").mkdir()
    assert find_configuration("digits") == shipped["digits"]
    Path("digits").rmdir()
    Path("digits").write_text("name: own")
    assert find_configuration("digits") == "digits"


def test_inline_configuration_of_any_length(config, capfd):
    inline = "{name: " + 300 * "n" + "}"
    assert find_configuration(inline) == inline
    words = ["fit", "--config", str(config), "--config", inline, "--ckpt_path", "nowhere.ckpt"]
    assert answer(capfd, words)[1].startswith("elastic: there is no checkpoint nowhere.ckpt")
    with pytest.raises(UsageError, match="there is no configuration nnn"):
        find_configuration(300 * "n")


@pytest.mark.parametrize("seed", ["true", "false", "-1", str(2**32)])
def test_a_seed_is_a_number(config, capfd, seed):
    for words in (["--seed_everything", seed], ["--config", f"{{seed_everything: {seed}}}"]):
        status, line = answer(capfd, ["fit", "--config", str(config), *words])
        assert status == 2
        assert '"seed_everything": Not of type Seed: ' in line


def test_checkpoint_mistakes(config, capfd, tmp_path):
    run = tmp_path / "runs" / "tiny"
    fit = ["fit", "--config", str(config), "--seed_everything", "3"]
    assert "there is no checkpoint" in answer(capfd, [*fit, "--ckpt_path", "last"])[1]
    assert "needs trained weights" in answer(capfd, ["test", "--config", str(config)])[1]
    assert main(fit) == 0
    before = (run / "last.ckpt").read_bytes()
    kept = (run / "config.yaml").read_text()
    assert yaml.safe_load(kept)["seed_everything"] == yaml.safe_load(kept)["model"]["seed"] == 3
    assert "is of an earlier run; continue it with --ckpt_path last" in answer(capfd, fit)[1]
    other = ["--model.supernet.choices", "{mid: null}", "--ckpt_path", "last"]
    assert main([*fit, *other]) == 2
    assert "holds another supernet" in capfd.readouterr().err
    longer = ["--trainer.limit_train_batches", "4", "--trainer.max_epochs", "3", "--ckpt_path", "last"]
    assert main([*fit, *longer]) == 2
    assert "the checkpoint's epochs have 3 steps, this training's 4" in capfd.readouterr().err
    assert (run / "last.ckpt").read_bytes() == before
    assert (run / "config.yaml").read_text() == kept, "extract, search and attack read it"


def test_full_disk_is_one_sentence_and_loses_nothing(config, capfd, tmp_path, monkeypatch):
    assert main(["fit", "--config", str(config), "--trainer.max_epochs", "1"]) == 0
    path = tmp_path / "runs" / "tiny" / "last.ckpt"
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["fit", "--config", str(config), "--ckpt_path", "last"]) == 2
    said = f"elastic: No space left on device: {path}; files that were there before are whole"
    assert said in capfd.readouterr().err
    assert path.read_bytes() == before


def test_loss_that_is_not_finite_saves_nothing(config, capfd, tmp_path):
    phases = "[{epochs: 2, learning_rate: 1.0e+30}]"
    words = ["--model.curriculum.phases", phases, "--model.optimizer.clip_value", "null"]
    assert main(["fit", "--config", str(config), *words]) == 2
    error = capfd.readouterr().err
    assert "elastic: step 1: the loss of subnet" in error
    assert "Lower the learning rate" in error
    assert not (tmp_path / "runs" / "tiny" / "last.ckpt").exists()


def test_what_cannot_be_compiled_is_one_sentence(config, capfd):
    assert main(["fit", "--config", str(config), "--model.step.compile", "no_such_backend"]) == 2
    message = capfd.readouterr().err
    assert "no_such_backend" in message
    assert "--model.step.compile false" in message
    assert "Traceback" not in message


def test_ctrl_c_is_one_sentence(config, capfd, tmp_path, monkeypatch):
    from trainers.supernet_module import SupernetModule

    step = SupernetModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.global_step == 4:
            raise KeyboardInterrupt
        step(self, batch, batch_idx)

    monkeypatch.setattr(SupernetModule, "training_step", interrupted)
    monkeypatch.setattr("signal.signal", lambda *args: None)
    assert main(["fit", "--config", str(config)]) == 130
    whole = "elastic: interrupted; files on disk are whole"
    assert f"{whole}, and the training continues with --ckpt_path last\n" in capfd.readouterr().err
    assert read_checkpoint(tmp_path / "runs" / "tiny" / "last.ckpt")["global_step"] == 3


def test_ctrl_c_speaks_of_training_in_fit_only(capfd, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("trainers.jobs.trained.open_trained", interrupted)
    assert answer(capfd, ["profile", "ofa_resnet50"]) == (130, "elastic: interrupted; files on disk are whole")


def test_a_checkpoint_that_is_further_than_asked(config, capfd):
    assert main(["fit", "--config", str(config)]) == 0
    shorter = ["fit", "--config", str(config), "--model.curriculum.scale", "0.5", "--ckpt_path", "last"]
    capfd.readouterr()
    assert main(shorter) == 2
    error = capfd.readouterr().err
    assert "elastic: You restored a checkpoint with current_epoch=2, but you have set Trainer(max_epochs=1)" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("every", "validated"),
    [(3, [5]), *(pytest.param(*case, marks=pytest.mark.sweep) for case in [(1, [2, 5]), (2, [5])])],
)
def test_the_last_epoch_is_validated_always(config, tmp_path, every, validated):
    assert main(["fit", "--config", str(config), "--trainer.check_val_every_n_epoch", str(every)]) == 0
    with (tmp_path / "runs" / "tiny" / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/largest/accuracy"]]
    assert [int(row["step"]) for row in rows] == validated


def test_the_last_of_max_steps_is_validated(config, tmp_path):
    fit = ["fit", "--config", str(config), "--trainer.check_val_every_n_epoch", "2", "--trainer.max_steps"]
    assert main([*fit, "2"]) == 0
    assert main([*fit, "5", "--ckpt_path", "last"]) == 0
    for number, last in enumerate((1, 4)):
        with (tmp_path / "runs" / "tiny" / "csv" / f"version_{number}" / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["val/largest/accuracy"]]
        assert [int(row["step"]) for row in rows] == [last]
    written = yaml.safe_load((tmp_path / "runs" / "tiny" / "config.yaml").read_text())
    assert written.get("ckpt_path") is None, "whoever trains from it again begins anew"


def test_one_callback_needs_no_list(config):
    callback = ["--trainer.callbacks", "lightning.pytorch.callbacks.LearningRateMonitor"]
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run", "1", *callback]) == 0


def test_debug_shows_the_traceback(config):
    from elastic.errors import CheckpointError

    with pytest.raises(CheckpointError):
        main(["fit", "--config", str(config), "--ckpt_path", "last", "--debug"])
