"""Every shipped method of training, on real digits, from the first phase to the last."""

import pytest
import yaml
from examples import mostly_swept

from trainers.cli.main import main
from trainers.configurations import shipped_configurations

METHODS = {
    "sandwich": "digits_mobilenetv3",
    "alpha_divergence": "digits_mobilenetv3",
    "gradient_projection": "digits_vit",
    "progressive_shrinking": "digits_mobilenetv3",
    "progressive_shrinking_resnet": "digits",
    "compofa": "digits_mobilenetv3",
    "matformer": "digits_vit",
    "hidden_states": "digits_vit",
    "proard": "digits_robust",
    "proard_at_once": "digits_robust",
    "proard_resnet": "digits_robust",
    "robust_sandwich": "digits_robust",
}
SHORT = [
    "--model.curriculum.scale", "0.001", "--data.batch_size", "16", "--trainer.limit_train_batches", "2",
    "--trainer.limit_val_batches", "1", "--model.validation.calibration_batches", "1",
    "--model.validation.middles", "0",
    "--trainer.log_every_n_steps", "1", "--trainer.check_val_every_n_epoch", "100",
    "--trainer.enable_progress_bar", "false",
]  # fmt: skip
MILD = [
    "--model.adversary.steps", "1", "--model.validation.attack.steps", "1", "--model.validation.attacked_batches", "1",
]  # fmt: skip
OTHERWISE = {  # stages and a stem of ProARD's ResNet, whose dims no other network has
    "proard_resnet": [
        "--model.supernet.model", "proard_resnet50_cifar", "--model.supernet.choices", "{}",
        "--model.supernet.input_size", "[3,16,16]", "--model.supernet.normalize", "null",
        "--data.size", "16", "--data.channels", "3", "--data.batch_size", "8",
    ],
}  # fmt: skip


# proard_resnet has 46 million parameters: a training takes minutes; test_main.py trains with proard
ALWAYS = set(METHODS) - {"proard", "proard_resnet", "proard_at_once"}


@pytest.mark.parametrize("method", mostly_swept(METHODS, ALWAYS))
def test_a_method_trains_on_digits(method, tmp_path, capsys):
    words = ["fit", "--config", METHODS[method], "--config", method, "--runs", str(tmp_path), "--name", method]
    mild = MILD if METHODS[method] == "digits_robust" else []
    assert main([*words, *SHORT, *mild, *OTHERWISE.get(method, [])]) == 0, capsys.readouterr().err
    assert (tmp_path / method / "supernet.safetensors").exists()


def test_every_shipped_configuration_is_trained_somewhere():
    data = {"digits", "digits_mobilenetv3", "digits_vit", "fashion_mnist", "imagenet_mobilenetv3", "folder", "finetune"}
    data |= {"digit_scenes", "digits_robust", "proard_cifar10", "robust_fashion_mnist"}
    data |= {"ofa_cifar10", "ofa_fashion_mnist", "ofa_imagenet"}
    data |= {"dynabert", "dynabert_sst2", "dynabert_cola", "dynabert_finetune", "glue_sandwich"}  # in test_dynabert.py
    assert set(shipped_configurations()) == data | set(METHODS)


@pytest.mark.parametrize("base", ["digits_robust", "proard_cifar10"])
def test_a_robust_sandwich_can_stop_early(base):
    """Patience counts validations."""
    shipped = shipped_configurations()
    method, data = (yaml.safe_load(shipped[name].read_text("utf-8")) for name in ("robust_sandwich", base))
    patience = method["trainer"]["callbacks"][0]["init_args"]["patience"]
    epochs = sum(phase["epochs"] for phase in method["model"]["curriculum"]["phases"])
    assert patience * data["trainer"]["check_val_every_n_epoch"] <= epochs / 2
