"""Robustness as it is counted, and the checks that it isn't the attack that failed."""

import pytest
import torch
from linear import SHAPE, linear_model
from torch import nn

from elastic.errors import TrainingError
from elastic.supernet.evaluation import MeasuredAccuracy
from trainers.methods.adversary import seeded
from trainers.robust.accuracy import RobustAccuracy, Share, measure_robustness
from trainers.robust.attacks import Threat, attack
from trainers.robust.gradient_masking import (
    ALL,
    BLIND,
    TWICE,
    check_masking,
    measure_masking,
    probes,
    steps,
    surely_more,
)


@pytest.fixture
def batches():
    """Two of labelled images, some labels of which are wrong."""
    generator = torch.Generator().manual_seed(11)
    images = 0.2 + 0.6 * torch.rand((64, *SHAPE), generator=generator)
    labels = linear_model(0)(images).argmax(1)
    labels[::8] = 1 - labels[::8]
    return list(zip(images.split(40), labels.split(40), strict=True))


def test_an_interval_is_wilson_s():
    share = Share(45, 50)
    z, p, n = 1.959964, 0.9, 50
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert share.accuracy == 90
    assert share.interval == pytest.approx((100 * (centre - half), 100 * (centre + half)), abs=1e-4)
    assert share.interval == pytest.approx((78.64, 95.65), abs=0.01)  # E. B. Wilson's, worked out by hand
    assert Share(0, 10).interval == pytest.approx((0, 27.75), abs=0.01)
    assert share.to_dict() == {
        "right": 45,
        "n": 50,
        "accuracy": 90.0,
        "low": share.interval[0],
        "high": share.interval[1],
    }


def test_what_is_wrong_already_counts_as_lost(batches):
    model, threat = linear_model(0), Threat("linf", 0.01)
    told = []
    found = measure_robustness(model, batches, ["fgsm", "pgd-5"], threat, advance=told.append)
    assert (found["clean"].right, found["clean"].n) == (56, 64)
    right = 0
    for images, labels in batches:  # one image at a time
        for image, label in zip(images[:, None], labels[:, None], strict=True):
            moved = attack("fgsm", model, image, label, threat)
            right += int(model(image).argmax() == label == model(moved).argmax())
    assert 0 < right < 56
    assert found["fgsm"].right == right
    assert found["worst"].right <= min(found["fgsm"].right, found["pgd-5"].right)
    assert sum(told) == 4


def test_an_attack_that_is_named_twice_counts_once(batches):
    model, threat, told = linear_model(0), Threat("linf", 0.01), []
    twice = measure_robustness(model, batches, ["fgsm", "fgsm"], threat, advance=told.append)
    assert twice == measure_robustness(model, batches, ["fgsm"], threat)
    assert sum(told) == 2


def test_the_worst_of_several_is_by_image(batches, monkeypatch):
    def odd_ones(name, model, images, labels, threat, seed):
        turned = images.clone()  # the linear model says the opposite of an image that is mirrored at ½
        turned[int(name == "fgsm") :: 2] = 1 - images[int(name == "fgsm") :: 2]
        return turned

    monkeypatch.setattr("trainers.robust.accuracy.attack", odd_ones)
    found = measure_robustness(linear_model(0), batches, ["fgsm", "pgd"], Threat())
    assert found["fgsm"].right + found["pgd"].right == 56
    assert found["worst"].right == 0


def test_a_measurement_is_a_function_of_the_seed(batches):
    model, threat = linear_model(2), Threat("l2", 0.05)
    one, two = (measure_robustness(model, batches, ["pgd-1"], threat, seed) for seed in (0, 0))
    assert one == two
    images, labels = batches[1]
    clean = model(images).argmax(1) == labels
    moved = attack("pgd-1", model, images[clean], labels[clean], threat, seeded(0, 1).initial_seed())
    alone = measure_robustness(model, batches[1:], ["pgd-1"], threat)
    assert alone["clean"].right == int(clean.sum())
    assert len(moved) == alone["clean"].right


def test_mistakes_are_said_before_anything_is_attacked(batches):
    with pytest.raises(TrainingError, match="no attack 'fog'"):
        measure_robustness(linear_model(0), [], ["fog"], Threat())
    with pytest.raises(ValueError, match="no images"):
        measure_robustness(linear_model(0), [], ["fgsm"], Threat())
    with pytest.raises(TrainingError, match=r"made on images \(N, C, H, W\), got dict"):
        measure_robustness(linear_model(0), [({"input_ids": batches[0][1]}, batches[0][1])], ["fgsm"], Threat())


def test_robust_accuracy_of_subnets_is_that_of_what_is_cut_out(source):
    supernet, generator = source.build().eval(), torch.Generator().manual_seed(3)
    images = torch.rand((24, 1, 32, 32), generator=generator)
    batches = list(zip(images.split(12), (torch.arange(24) % 10).split(12), strict=True))
    threat = Threat("linf", "2/255")
    measured = RobustAccuracy(supernet, batches, [images], "pgd-2", threat, seed=4)
    arch = supernet.space.sample(1)
    found = measured(arch)
    assert measured(arch) == found
    assert list(found) == ["accuracy", "robust"]
    plain = MeasuredAccuracy(supernet, batches, [images])
    assert found["accuracy"] == plain(arch)["accuracy"]
    sized = plain.sized(arch)
    assert found["robust"] == measure_robustness(plain.subnet(arch), sized, ["pgd-2"], threat, 4)["pgd-2"].accuracy
    with pytest.raises(TrainingError, match="no attack 'fog'"):
        RobustAccuracy(supernet, batches, attack="fog")


# --- gradient masking ---------------------------------------------------------------------------------------------


class Stairs(nn.Module):
    """Logits in steps: a gradient that is 0 everywhere, as of a model that rounds."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return (4 * self.model(images)).round() / 4


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_honest_model_passes(batches, norm):
    model = linear_model(0)
    told = []
    shares = measure_masking(model, batches, Threat(norm, 0.02 if norm == "linf" else 0.1), advance=told.append)
    assert all(check.ok for check in check_masking(shares, 2)), check_masking(shares, 2)
    assert sum(told) == len(batches) * steps()
    assert shares[ALL].right == 0


@pytest.mark.parametrize("scale", [None, 1e5])
def test_masked_gradients_are_found(batches, scale):
    """Where logits come in steps, and where they are so large that the loss of a right answer is exactly 0."""
    pytest.importorskip("torchattacks")
    model = Stairs(linear_model(0)).eval() if scale is None else linear_model(0, scale=scale)
    checks = check_masking(measure_masking(model, batches, Threat("linf", 0.1)), 2)
    failed = {check.rule for check in checks if not check.ok}
    assert "gradient attacks never leave more than a gradient-free one" in failed
    assert "an unbounded perturbation lowers robust accuracy to about 0" in failed


def test_without_torchattacks_there_is_no_blind_search(batches, monkeypatch):
    monkeypatch.setattr("trainers.robust.attacks.find_spec", lambda _: None)
    shares = measure_masking(linear_model(0), batches, Threat("linf", 0.02))
    assert BLIND not in shares
    assert [check.ok for check in check_masking(shares, 2)] == [True] * 4


SOUND = {"fgsm": 60, "pgd-20": 50, "pgd-50": 49, BLIND: 65, TWICE: 20, ALL: 0}


@pytest.mark.parametrize(
    ("name", "right", "rule"),
    [
        ("fgsm", 30, "several steps never raise robust accuracy above one step's"),
        ("pgd-50", 75, "more steps never raise robust accuracy"),
        (TWICE, 80, "doubling ε never raises robust accuracy"),
        (BLIND, 30, "gradient attacks never leave more than a gradient-free one"),
        (ALL, 30, "an unbounded perturbation lowers robust accuracy to about 0"),
    ],
)
def test_each_rule_is_broken_by_its_own_metric(name, right, rule):
    found = {one: Share(right if one == name else n, 100) for one, n in SOUND.items()}
    assert [check.rule for check in check_masking(found, 10) if not check.ok] == [rule]
    near = {one: Share(n + 6 if one == name else n, 100) for one, n in SOUND.items()}  # as chance has it
    assert all(check.ok for check in check_masking(near, 10))
    assert f"{right:.1f} %" in next(check.finding for check in check_masking(found, 10) if not check.ok)


def test_a_single_image_is_no_sign():
    assert not surely_more(Share(1, 64), Share(0, 64))
    # R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998: 56/70 − 48/80
    low = 100 * (0.8 - 0.6) - ((80 - Share(56, 70).interval[0]) ** 2 + (Share(48, 80).interval[1] - 60) ** 2) ** 0.5
    assert low == pytest.approx(5.24, abs=0.01)
    assert surely_more(Share(56, 70), Share(48, 80))
    assert not surely_more(Share(48, 80), Share(56, 70))


def test_the_probes_are_attacks():
    assert set(probes()) >= {"fgsm", "pgd-20", "pgd-50"}
