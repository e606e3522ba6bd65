"""A supernet, a configuration and data small enough to train in seconds."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from elastic.supernet.folder import save_supernet
from elastic.supernet.source import SupernetSource

SOURCE = {
    "model": "resnet18",
    "model_args": {"num_classes": 10, "channels": [8, 16, 16, 24], "layers": [2, 1, 2, 1]},
    "input_size": [1, 32, 32],
}


@pytest.fixture
def source() -> SupernetSource:
    return SupernetSource.from_dict(SOURCE)


@pytest.fixture
def vit():
    """Without BatchNorm, several small batches have the gradient of the large one."""
    args = {"num_classes": 10, "img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return SupernetSource("vit_tiny_patch16_224", args, input_size=[1, 32, 32])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A YAML file; two epochs of three steps, everything below `tmp_path`."""
    values = {
        "runs": str(tmp_path / "runs"),
        "name": "tiny",
        "model": {
            "supernet": SOURCE,
            "curriculum": {"phases": [{"epochs": 2, "learning_rate": 0.05, "warmup_epochs": 1}]},
            "validation": {"middles": 1, "calibration_batches": 1},
        },
        "data": {"class_path": "Digits", "init_args": {"batch_size": 16}},
        "trainer": {
            "accelerator": "cpu",
            "limit_train_batches": 3,
            "limit_val_batches": 2,
            "limit_test_batches": 2,
            "log_every_n_steps": 1,
        },
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Generated images of three classes, in two splits of twelve."""
    root, rng = tmp_path / "images", np.random.default_rng(0)
    for split in ("train", "val"):
        for k in range(3):
            (root / split / f"class_{k}").mkdir(parents=True)
            for n in range(4):
                pixels = rng.integers(0, 255, (40, 49, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / f"class_{k}" / f"{n}.png")
    return root


@pytest.fixture
def fashion_files(tmp_path: Path) -> Path:
    """32 random pictures in Fashion-MNIST's files."""
    root, rng = tmp_path / "fashion", np.random.default_rng(0)
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        pixels = rng.integers(0, 255, (32, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 32, 28, 28) + pixels.tobytes())
        classes = rng.integers(0, 10, 32, dtype=np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 32) + classes.tobytes())
    return root


@pytest.fixture
def run(source, tmp_path):
    """A run's folder as training leaves it: the supernet and its configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same weights each time: their ONNX file is written once
        folder = save_supernet(source.build(), source, tmp_path / "run")
    data = {"class_path": "Digits", "init_args": {"batch_size": 16}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder
