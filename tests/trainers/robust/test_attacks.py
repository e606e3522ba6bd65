"""Attacks by name, against closed forms and against torchattacks' own."""

import random

import pytest
import torch
from linear import SHAPE, linear_model
from numpy.random.mtrand import get_bit_generator
from torch import nn
from torch.nn import functional as F

from elastic.errors import PackageError, TrainingError
from trainers.methods.adversary import Adversary
from trainers.robust.attacks import KINDS, Threat, attack, find_attack

CHEAP = ["fgsm", "pgd-3", "cw-3", "apgd-ce-3", "square-5", "autoattack"]


@pytest.fixture
def linear():
    """Logistic regression on images: of two classes, the second where w · x > w · ½."""
    return linear_model(seed=0)


@pytest.fixture
def images():
    """Inside the cube by more than the balls below, so that its faces are not in the way."""
    return 0.3 + 0.4 * torch.rand((12, *SHAPE), generator=torch.Generator().manual_seed(1))


def margins(model, images, labels):
    logits = model(images)
    return (logits.gather(1, labels[:, None]) - logits.gather(1, 1 - labels[:, None])).squeeze(1).detach()


def slope(model):
    """Of the margin of class 1 over class 0."""
    return (model[1].weight[1] - model[1].weight[0]).detach()


@pytest.mark.parametrize("name", ["fgsm", "pgd-20", "apgd-ce-40"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_model_the_optimum_is_known(name, norm, linear, images):
    if name == "apgd-ce-40":
        pytest.importorskip("torchattacks")
    labels, threat = linear(images).argmax(1), Threat(norm, 0.01 if norm == "linf" else 0.05)
    attacked = attack(name, linear, images, labels, threat)
    drop = margins(linear, images, labels) - margins(linear, attacked, labels)
    most = threat.radius * (slope(linear).abs().sum() if norm == "linf" else slope(linear).norm())
    if name == "apgd-ce-40":  # it rests once an image is told wrongly
        stood = linear(attacked).argmax(1) == labels
        assert torch.equal(stood, margins(linear, images, labels) > most)
    else:
        torch.testing.assert_close(drop, most.expand(12), rtol=1e-3, atol=1e-5)
    assert bool(threat.allows(images, attacked).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_finds_what_torchattacks_finds(norm):
    package = pytest.importorskip("torchattacks")
    model, generator = small_net(), torch.Generator().manual_seed(2)
    images = torch.rand((16, *SHAPE), generator=generator)
    labels, radius = model(images).argmax(1), 0.03 if norm == "linf" else 0.3
    kind = package.PGD if norm == "linf" else package.PGDL2
    theirs = kind(model, eps=radius, alpha=radius / 4, steps=40)(images, labels)
    ours = attack("pgd-40", model, images, labels, Threat(norm, radius))
    losses = [F.cross_entropy(model(one), labels, reduction="none").detach() for one in (images, ours, theirs)]
    assert bool((losses[1] > 1.2 * losses[0]).all())
    torch.testing.assert_close(losses[1], losses[2], rtol=0.03, atol=1e-3)


def test_fgsm_is_torchattacks_bit_for_bit():
    package = pytest.importorskip("torchattacks")
    model, images = small_net(), torch.rand((8, *SHAPE), generator=torch.Generator().manual_seed(3))
    labels = torch.arange(8) % 5
    theirs = package.FGSM(model, eps=0.05)(images, labels)
    torch.testing.assert_close(attack("fgsm", model, images, labels, Threat("linf", 0.05)), theirs, rtol=0, atol=1e-6)


def test_pgd_is_the_adversary_of_training(linear, images):
    labels, threat = linear(images).argmax(1), Threat("linf", "8/255")
    found = Adversary("linf", "8/255", 20, "2/255").perturb(
        images, lambda one: F.cross_entropy(linear(one), labels, reduction="sum"), torch.Generator().manual_seed(5)
    )
    torch.testing.assert_close(attack("pgd", linear, images, labels, threat, seed=5), found)


def small_net():
    """With BatchNorm whose statistics and weights are no ones and zeros, and with dropout."""
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(128, 5)
    )
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, one in (*model.named_parameters(), *model.named_buffers()):
            if one.is_floating_point():
                one.copy_(torch.rand(one.shape, generator=generator) + 0.5 if "1." in name else one)
                if "1." not in name:
                    one.copy_(0.3 * torch.randn(one.shape, generator=generator))
    return model.eval()


def shorten_autoattack(monkeypatch, steps=3, queries=5):
    monkeypatch.setattr("trainers.robust.attacks.STEPS", steps)
    monkeypatch.setattr("trainers.robust.attacks.QUERIES", queries)


def numpy_state():
    return str(get_bit_generator().state)


def names(norm):
    return [one for one in CHEAP if norm in KINDS[one if one in KINDS else one.rpartition("-")[0]].norms]


@pytest.mark.parametrize(("norm", "name"), [(norm, name) for norm in ("linf", "l2") for name in names(norm)])
def test_an_attack_is_deterministic_and_leaves_all_as_it_was(norm, name, monkeypatch, capsys):
    if KINDS[name if name in KINDS else name.rpartition("-")[0]].foreign:
        pytest.importorskip("torchattacks")
    shorten_autoattack(monkeypatch)
    model = small_net()
    model[0].weight.requires_grad_(False)
    images = torch.rand((6, *SHAPE), generator=torch.Generator().manual_seed(4))
    labels = model(images).argmax(1)
    before = [(key, one.clone(), one.requires_grad) for key, one in model.state_dict(keep_vars=True).items()]
    states = torch.get_rng_state(), numpy_state(), random.getstate()
    threat = Threat(norm, 0.02 if norm == "linf" else 0.1)

    first = attack(name, model, images, labels, threat, seed=3)
    torch.rand(1)
    torch.set_rng_state(states[0])
    assert torch.equal(first, attack(name, model, images, labels, threat, seed=3))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == numpy_state()
    assert states[2] == random.getstate()

    assert not any(module.training for module in model.modules())
    for (key, value, learns), (again, now) in zip(before, model.state_dict(keep_vars=True).items(), strict=True):
        assert key == again
        assert torch.equal(value, now)
        assert now.requires_grad == learns
        assert now.grad is None
    assert bool(threat.allows(images, first).all())
    assert not first.requires_grad
    assert capsys.readouterr() == ("", "")


def test_another_seed_is_another_start(images):
    model, labels = small_net(), torch.zeros(12, dtype=torch.int64)
    threat = Threat("linf", 0.02)
    assert not torch.equal(*(attack("pgd-1", model, images, labels, threat, seed) for seed in (0, 1)))


class Constant(nn.Module):
    """Says the same of every image; has no parameters."""

    def forward(self, images):
        return torch.tensor([0.0, 1.0, 0.5]).expand(len(images), 3)


def test_square_can_do_nothing_about_a_constant(images):
    pytest.importorskip("torchattacks")
    labels = torch.ones(12, dtype=torch.int64)
    model = Constant().eval()
    assert torch.equal(attack("square-20", model, images, labels, Threat()), images)
    assert torch.equal(model(images[:1]), torch.tensor([[0.0, 1.0, 0.5]]))
    with pytest.raises(TrainingError, match="no gradient with respect to its images, so only square"):
        attack("pgd", model, images, labels, Threat())


def test_cw_comes_no_closer_than_the_boundary_and_counts_within_the_ball_only(linear, images):
    pytest.importorskip("torchattacks")
    labels = linear(images).argmax(1)
    distances = margins(linear, images, labels) / slope(linear).norm()
    radius = float(distances.median()) * 1.3
    attacked = attack("cw", linear, images, labels, Threat("l2", radius))
    broken = linear(attacked).argmax(1) != labels
    assert 0 < int(broken.sum()) < 12
    moved = (attacked - images).flatten(1).norm(dim=1)
    assert bool((moved[broken] >= distances[broken] - 1e-5).all())
    assert bool((moved <= radius + 1e-5).all())
    assert bool((moved[distances > radius] == 0).all())


def test_autoattack_is_the_published_standard(monkeypatch):
    """torchattacks' own takes 10 steps and, of 1,000 classes, 999 targets."""
    package = pytest.importorskip("torchattacks")
    made = {}
    for name in ("APGD", "APGDT", "FAB", "Square"):
        plain = getattr(package, name)
        monkeypatch.setattr(package, name, lambda *a, _n=name, _p=plain, **k: made.update({_n: k}) or _p(*a, **k))
    monkeypatch.setattr(package, "MultiAttack", lambda attacks, verbose: lambda images, labels: images)
    model = linear_model(0, classes=40)
    images = torch.rand((2, *SHAPE))
    attack("autoattack", model, images, 1 - model(images).argmax(1).clamp(max=1), Threat("linf", "4/255"), seed=9)
    assert all(one["eps"] == 4 / 255 and one["norm"] == "Linf" and one["seed"] == 9 for one in made.values())
    assert (made["APGD"]["steps"], made["APGDT"]["steps"], made["FAB"]["steps"]) == (100, 100, 100)
    assert made["APGDT"]["n_classes"] == made["FAB"]["n_classes"] == 10
    assert made["Square"]["n_queries"] == 5000
    with pytest.raises(TrainingError, match="four classes or more, and the model has 2"):
        attack("autoattack", linear_model(0), images, torch.zeros(2, dtype=torch.int64), Threat())


def test_autoattack_finds_all_that_there_is_on_a_linear_model(images, monkeypatch):
    pytest.importorskip("torchattacks")
    shorten_autoattack(monkeypatch, 40, 100)
    model = linear_model(3, classes=4)
    labels, threat = model(images).argmax(1), Threat("linf", 0.006)
    stood = model(attack("autoattack", model, images, labels, threat)).argmax(1) == labels
    logits, weight = model(images).detach(), model[1].weight.detach()
    best = torch.full((12,), float("inf"))
    for other in range(4):
        reach = threat.radius * (weight[labels] - weight[other]).abs().sum(1)
        margin = logits.gather(1, labels[:, None]).squeeze(1) - logits[:, other] - reach
        best = torch.where(labels == other, best, torch.minimum(best, margin))
    assert torch.equal(stood, best > 0)
    assert 0 < int(stood.sum()) < 12


def test_torchattacks_keeps_no_model_alive(images):
    """It puts all that it is given in a list that is never emptied."""
    pytest.importorskip("torchattacks")
    import gc
    import weakref

    model = small_net()
    watched = weakref.ref(model)
    attack("apgd-ce-2", model, images, torch.zeros(12, dtype=torch.int64), Threat())
    del model
    gc.collect()
    assert watched() is None


def test_no_images_are_no_work(linear):
    nothing = torch.zeros((0, *SHAPE))
    assert attack("pgd", linear, nothing, torch.zeros(0, dtype=torch.int64), Threat()).shape == (0, *SHAPE)


@pytest.mark.parametrize(
    ("name", "norm", "says"),
    [
        ("deepfool", "linf", "no attack 'deepfool'; choose from fgsm, pgd, cw"),
        ("pgd-0", "linf", "no attack 'pgd-0'"),
        ("pgd-x", "linf", "no attack 'pgd-x'"),
        ("fgsm-3", "linf", "no attack 'fgsm-3'"),
        ("pgd-", "linf", "no attack 'pgd-'"),
        ("cw", "linf", "cw is an attack of norm l2, not of linf; for that there is pgd, apgd-ce and autoattack"),
    ],
)
def test_names_that_are_none(name, norm, says):
    with pytest.raises(TrainingError, match=says):
        find_attack(name, norm)


def test_what_is_wrong_with_what_is_attacked_is_said(linear, images):
    labels = linear(images).argmax(1)
    with pytest.raises(TrainingError, match=r"call model.eval\(\) before the attack"):
        attack("pgd", linear_model(0).train(), images, labels, Threat())
    with pytest.raises(TrainingError, match="whatever normalises them belongs into the model"):
        attack("pgd", linear, 4 * images - 2, labels, Threat())
    with pytest.raises(TrainingError, match=r"labels torch.float32 \(12, 2\); wanted one class each, int64 \(12,\)"):
        attack("pgd", linear, images, F.one_hot(labels).float(), Threat())
    with pytest.raises(TrainingError, match="has label 2; Sequential has 2 classes"):
        attack("pgd", linear, images, labels + 1 + (labels == 0), Threat())
    with pytest.raises(TrainingError, match=r"wanted 0 < ε ≤ 8\.4"):
        attack("pgd", linear, images, labels, Threat("l2", 9.0))
    with pytest.raises(TrainingError, match="8 of 255 is 8/255"):
        Threat("linf", 8)
    with pytest.raises(TrainingError, match="no norm 'l1'; choose one of linf, l2"):
        Threat("l1", 0.1)


def test_a_missing_package_is_said_with_its_cure(monkeypatch, linear, images):
    monkeypatch.setattr("elastic.support.packages.find_spec", lambda _: None)
    with pytest.raises(PackageError, match=r"apgd-ce \(unlike fgsm and pgd\) needs torchattacks; install with: pip "):
        find_attack("apgd-ce", "linf")
    labels = linear(images).argmax(1)
    assert attack("pgd", linear, images, labels, Threat()).shape == images.shape
