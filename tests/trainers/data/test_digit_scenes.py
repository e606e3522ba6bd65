import pytest
import torch

from trainers.data.digit_scenes import DigitScenes, _photographs


@pytest.fixture(scope="module")
def scenes():
    return DigitScenes(size=16, copies=2)


def test_the_same_seed_makes_the_same_images_and_another_one_others(scenes):
    first, again = scenes.splits.train.tensors, DigitScenes(size=16, copies=2).splits.train.tensors
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    other = DigitScenes(size=16, copies=2, seed=1).splits.train.tensors
    assert not torch.equal(first[0], other[0])


def test_every_digit_is_in_one_part_only_as_often_as_it_is_copied(scenes):
    parts = scenes._split(scenes._enlarged()[1])
    assert sorted(index for part in parts for index in part) == list(range(1797))
    lengths = [len(one) for one in (scenes.splits.train, scenes.splits.val, scenes.splits.test)]
    assert lengths == [2 * len(part) for part in parts]


def test_training_sees_none_of_the_photographs_that_the_other_parts_show():
    for left, right in zip(_photographs(True), _photographs(False), strict=True):
        assert left.shape[-1] + right.shape[-1] == 640
        assert left.shape[-1] == 2 * 640 // 3


def test_preprocessing_says_how_grey_values_were_normalised(scenes):
    said = scenes.preprocessing
    images = scenes.splits.val.tensors[0] * said["std"][0] + said["mean"][0]
    assert said["input_size"] == [1, 16, 16]
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6
    assert 0.9 < float(scenes.splits.train.tensors[0].std()) < 1.1
