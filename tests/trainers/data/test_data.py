import gzip
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import create_transform
from torch.utils.data import DistributedSampler, Subset, TensorDataset

from elastic.errors import TrainingError
from elastic.supernet.source import SupernetSource
from trainers import Digits, TimmData
from trainers.data.image_folder import ImageFolder


def labels(batches):
    return [label for _, batch in batches for label in batch.tolist()]


def test_digits_are_split_once_and_evenly():
    splits = Digits(seed=1).splits
    parts = [set(part.indices) for part in (splits.train, splits.val, splits.test)]
    assert sorted(set.union(*parts)) == list(range(1797))
    assert sum(map(len, parts)) == 1797
    for part in (splits.train, splits.val, splits.test):
        counts = np.bincount([int(part[i][1]) for i in range(len(part))], minlength=10) / len(part)
        assert counts == pytest.approx([0.1] * 10, abs=0.015)
    assert Digits(seed=1).splits.test.indices == splits.test.indices
    assert Digits(seed=2).splits.test.indices != splits.test.indices


def test_preprocessing_of_digits_says_how_a_pixel_becomes_a_number():
    data = Digits(size=8, channels=3)
    says, raw = data.preprocessing, load_digits().images
    assert says["input_size"] == [3, 8, 8]
    index = data.splits.val.indices[5]
    wanted = (torch.from_numpy(raw[index]) / says["divisor"] - says["mean"][2]) / says["std"][2]
    torch.testing.assert_close(data.splits.val[5][0][2].double(), wanted, rtol=1e-5, atol=1e-5)


def test_raw_digits_are_pixels_between_0_and_1():
    data, plain = Digits(size=8, raw=True), Digits(size=8)
    says, raw = data.preprocessing, load_digits().images
    assert (says["mean"], says["std"]) == ([0.0], [1.0])
    index = data.splits.val.indices[5]
    image = data.splits.val[5][0]
    assert torch.equal(image[0].double(), torch.from_numpy(raw[index]) / 16)
    mean, std = plain.preprocessing["mean"][0], plain.preprocessing["std"][0]
    torch.testing.assert_close((image - mean) / std, plain.splits.val[5][0])


@pytest.mark.filterwarnings(r"ignore:unclosed file .*\.png:ResourceWarning")  # timm leaves closing to Python
@pytest.mark.parametrize("eval_transform", [{}, {"crop_pct": 0.5, "interpolation": "bicubic"}])
def test_preprocessing_of_timm_data_is_what_timm_needs_to_do_the_same(eval_transform, image_folder):
    size = {"input_size": (3, 24, 24), "std": [0.5] * 3, "batch_size": 4}
    data = TimmData(root=str(image_folder), **size, eval_transform=eval_transform)
    picture = Image.open(image_folder / "val" / "class_1" / "2.png")
    transform = create_transform(**data.preprocessing, is_training=False)
    with picture:
        assert any(torch.equal(transform(picture), image) for image, _ in (data.splits.val[k] for k in range(12)))


def test_digits_have_the_size_asked_for():
    image, label = Digits(size=20, channels=3).splits.train[0]
    assert image.shape == (3, 20, 20)
    assert image.dtype == torch.float32
    assert label.dtype == torch.int64
    assert torch.equal(image[0], image[2])


def test_order_is_a_function_of_seed_and_epoch():
    def epoch(seed, number):
        loader = Digits(seed=0).train_dataloader()
        loader.sampler.seed = seed
        loader.sampler.set_epoch(number)
        return labels(loader)

    assert epoch(0, 3) == epoch(0, 3)
    assert epoch(0, 3) != epoch(0, 4)
    assert epoch(0, 3) != epoch(1, 3)


def test_calibration_images_are_fixed_training_images():
    data = Digits(batch_size=50)
    first, again = list(data.calibration_batches()), list(data.calibration_batches())
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    train = {image.numpy().tobytes() for image, _ in (data.splits.train[i] for i in range(len(data.splits.train)))}
    assert {image.numpy().tobytes() for batch in first for image in batch} == train


@pytest.mark.filterwarnings(r"ignore:unclosed file .*\.png:ResourceWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_cannot_be_read_are_named(image_folder, workers):
    for path in image_folder.rglob("*.png"):
        path.write_bytes(b"soup")
    data = TimmData(root=str(image_folder), val_split="val", input_size=(3, 24, 24), batch_size=4, workers=workers)
    for batches in (data.train_dataloader(), data.val_dataloader(), data.calibration_batches()):
        with pytest.raises(TrainingError, match=r"class_\d/\d.png can't be read as an image, nor can those after it"):
            next(iter(batches))


@pytest.mark.filterwarnings(r"ignore:unclosed file .*\.png:ResourceWarning")
def test_one_image_that_cannot_be_read_is_passed_over(image_folder):
    (image_folder / "val" / "class_0" / "0.png").write_bytes(b"soup")
    data = TimmData(root=str(image_folder), val_split="val", input_size=(3, 24, 24), batch_size=4, workers=0)
    assert sorted(labels(data.val_dataloader())) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.filterwarnings(r"ignore:unclosed file .*\.png:ResourceWarning")  # timm leaves closing to Python
def test_folder_of_images(image_folder):
    data = TimmData(root=str(image_folder), input_size=(3, 24, 24), batch_size=4, workers=0)
    images, _ = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 24, 24)
    assert sorted(labels(data.val_dataloader())) == [0] * 4 + [1] * 4 + [2] * 4
    assert labels(data.test_dataloader()) == labels(data.val_dataloader())
    grey = TimmData(root=str(image_folder), input_size=(1, 24, 24), mean=[0.5], std=[0.5], batch_size=4, workers=0)
    assert next(iter(grey.val_dataloader()))[0].shape == (4, 1, 24, 24)


@pytest.mark.filterwarnings(r"ignore:unclosed file .*\.png:ResourceWarning")
def test_classes_have_the_numbers_of_the_training_split(image_folder):
    shutil.rmtree(image_folder / "val" / "class_0")
    data = TimmData(root=str(image_folder), val_split="val", input_size=(3, 24, 24), batch_size=4, workers=0)
    assert sorted(labels(data.val_dataloader())) == [1] * 4 + [2] * 4
    assert data.class_names == ["class_0", "class_1", "class_2"]
    (image_folder / "val" / "class_1").rename(image_folder / "val" / "class_9")
    data = TimmData(root=str(image_folder), val_split="val", input_size=(3, 24, 24), batch_size=4, workers=0)
    with pytest.raises(TrainingError, match=r"split 'val' of .* has 1 class.* that 'train' lacks: class_9; remove"):
        data.setup("fit")


def test_validation_images_are_cut_off_the_training_split(fashion_files):
    data = TimmData("torch/fashion_mnist", str(fashion_files), val_split=None, test_split="test", val_fraction=0.25,
                    input_size=(1, 32, 32), mean=[0.5], std=[0.5], eval_transform={"crop_pct": 1.0}, batch_size=8,
                    workers=0, train_transform={"color_jitter": None})  # fmt: skip
    splits = data.splits
    assert sorted(splits.train.indices + splits.val.indices) == list(range(32))
    assert splits.calibration.indices == splits.train.indices
    assert len(splits.val) == 8
    assert len(splits.test) == 32
    assert torch.equal(splits.val[0][0], splits.val[0][0])
    coloured = TimmData("torch/fashion_mnist", str(fashion_files), val_split="test", batch_size=8, workers=0)
    assert next(iter(coloured.val_dataloader()))[0].shape == (8, 3, 224, 224)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"input_size": [1, 32, 32]},
            r"data.mean is one number for each channel: 1 for grey images, got \[0.485, 0.456, 0.406\]. "
            r"Give --data.mean \[0.5\] --data.std \[0.5\], .* with 3 channel\(s\): --data.input_size \[3, 32, 32\]",
        ),
        (
            {"std": [0.5]},
            r"data.std is one number for each channel: 3 for col.*--data.input_size \[1, 224, 224\]",
        ),
        ({"input_size": [2, 32, 32]}, r"input_size is channels \(1: grey, 3: coloured\), height .*; got \[2, 32, 32\]"),
        ({"input_size": [32, 32]}, r"such as \[3, 224, 224\]; got \[32, 32\]"),
        ({"std": [0.5, 0.5, 0.0]}, r"std is divided by, so above 0; got \[0.5, 0.5, 0.0\]"),
        ({"val_split": None, "val_fraction": 1.5}, "val_fraction is a share of the images, between 0 and 1; got 1.5"),
    ],
)
def test_images_that_cannot_be_normalised_so_are_refused(options, message):
    with pytest.raises(TrainingError, match=message):
        TimmData(**options)


def test_a_folder_for_a_grey_network_is_normalised_by_the_mean_of_its_channels(image_folder, source):
    supernet = SupernetSource("resnet18", {**source.model_args, "num_classes": 3}, input_size=[1, 32, 32]).build()
    data = ImageFolder(image_folder, supernet)
    assert data.input_size == (1, 32, 32)
    assert len(data.mean) == len(data.std) == 1
    assert data.mean[0] == pytest.approx((0.485 + 0.456 + 0.406) / 3)


def test_missing_data_says_where_and_how(tmp_path):
    with pytest.raises(TrainingError, match=r"no data in .*nowhere: no such folder; say where it is \(--data.root\)"):
        TimmData(root=str(tmp_path / "nowhere")).setup("fit")
    with pytest.raises(TrainingError, match=r"can't read split 'train' of torch/.* in .*: Dataset not found"):
        TimmData("torch/fashion_mnist", str(tmp_path)).setup("fit")
    with pytest.raises(TrainingError, match=r"can't read split 'train' of the image folder"):
        TimmData(root=str(tmp_path)).setup("fit")


def test_truncated_data_is_named(fashion_files):
    raw = fashion_files / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    raw.write_bytes(gzip.compress(raw.read_bytes())[:100])
    with pytest.raises(TrainingError, match="can't read split 'train' of torch/fashion_mnist"):
        TimmData("torch/fashion_mnist", str(fashion_files)).setup("fit")


def test_unknown_transform_is_named(image_folder):
    data = TimmData(root=str(image_folder), train_transform={"hfip": 0.5})
    with pytest.raises(TrainingError, match=r"train_transform .*hfip.*see timm.data.create_transform"):
        data.setup("fit")


def test_a_data_sets_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    with pytest.raises(TrainingError, match=r"can't read split 'train' of hfds/mnist .*datasets"):
        TimmData("hfds/mnist").setup("fit")


def test_fewer_images_than_a_batch(monkeypatch):
    data = Digits(batch_size=700)
    monkeypatch.setattr(data, "_ranks", lambda: (2, 0))
    with pytest.raises(TrainingError, match=r"628 training examples of each process don't fill a batch of 700; lower"):
        data.setup("fit")
    with pytest.raises(TrainingError, match=r"1257 training examples don't fill a batch of 2000; lower --data"):
        Digits(batch_size=2000).setup("fit")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size counts examples, 1 or more.*got 0 and 0"),
        ({"workers": -1}, "workers processes, 0 or more; got 64 and -1"),
        ({"size": 0}, "size counts pixels .* 1 or more; got 0 and 1"),
        ({"channels": 0}, "got 32 and 0"),
        ({"val_fraction": 0.0}, "shares of the images, 0.01 or more.*got 0.0 and 0.15"),
        ({"test_fraction": 0.001}, "got 0.15 and 0.001"),
        ({"val_fraction": 0.6, "test_fraction": 0.6}, "leave as much for training; got 0.6 and 0.6"),
    ],
)
def test_data_that_cannot_be_is_refused(options, words):
    with pytest.raises(TrainingError, match=words):
        Digits(**options)


def test_the_smallest_parts_have_every_digit():
    splits = Digits(val_fraction=0.01, test_fraction=0.98, batch_size=8).splits
    for part in (splits.train, splits.val, splits.test):
        assert {int(part[k][1]) for k in range(len(part))} == set(range(10))


@pytest.mark.parametrize("kind", ["val", "test"])
def test_a_process_without_an_example_is_refused(kind, monkeypatch):
    data = Digits(batch_size=4)
    splits = data.splits
    few = replace(splits, **{kind: Subset(splits.val, range(1))})
    monkeypatch.setattr(data, "load", lambda: few)
    monkeypatch.setattr(data, "_ranks", lambda: (2, 0))
    data._splits = None
    with pytest.raises(TrainingError, match=r"1 (validation|test) examples for 2 process\(es\); wanted one for each"):
        data.setup("fit")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_together_validate_each_image_once(ranks, monkeypatch):
    data = Digits(batch_size=2)
    data._splits = replace(data.splits, val=Subset(data.splits.val, range(5)))
    whole, shares = [image for image, _ in data.splits.val], []
    for rank in range(ranks):
        monkeypatch.setattr(data, "_ranks", lambda rank=rank: (ranks, rank))
        loader = data.val_dataloader()
        assert isinstance(loader.sampler, DistributedSampler)  # else Lightning puts one that repeats in its place
        batches = [images for images, _ in loader]
        assert len(loader) == len(batches)
        shares.append(torch.cat(batches))
        # units are scored on the same ones by all
        assert torch.equal(torch.cat([images for images, _ in data.held_out_batches()]), torch.stack(whole))
    assert all(torch.equal(share, torch.stack(whole[rank::ranks])) for rank, share in enumerate(shares))


def test_ranks_share_the_images(monkeypatch):
    everything = Digits(batch_size=16)
    shares = []
    for rank in range(2):
        data = Digits(batch_size=16)
        monkeypatch.setattr(data, "_ranks", lambda rank=rank: (2, rank))
        shares.append(list(data.calibration_batches()))
    together = {row.numpy().tobytes() for share in shares for batch in share for row in batch}
    alone = {row.numpy().tobytes() for batch in everything.calibration_batches() for row in batch}
    assert together == alone
    assert isinstance(everything.splits.train.dataset, TensorDataset)
