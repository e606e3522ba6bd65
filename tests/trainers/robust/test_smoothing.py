"""Certificates by randomised smoothing, against linear models, whose radius is the distance to the boundary."""

import pytest
import torch
from linear import SHAPE, linear_model
from scipy.stats import binomtest, norm
from torch import nn

from elastic.errors import TrainingError
from trainers.methods.adversary import seeded
from trainers.robust.smoothing import Certificate, Smoothing, certified, certify, lower_bound


@pytest.fixture
def images():
    return 0.3 + 0.4 * torch.rand((10, *SHAPE), generator=torch.Generator().manual_seed(1))


def distances(model, images):
    logits = model(images).detach()
    return (logits[:, 1] - logits[:, 0]).abs() / (model[1].weight[1] - model[1].weight[0]).norm().detach()


def test_on_a_linear_model_the_radius_is_the_distance_to_the_boundary(images):
    model, far = linear_model(0), distances(linear_model(0), images)
    smoothing = Smoothing(sigma=2 * float(far.mean()), n=20_000, batch=5_000)
    for at, image in enumerate(images):
        found = smoothing.certify(model, image, seeded(at))
        assert found.label == int(model(image[None]).argmax())
        assert found.radius <= far[at]
        assert found.radius == pytest.approx(float(far[at]), abs=0.06 * smoothing.sigma)
        assert smoothing.predict(model, image, seeded(at)) == found.label


def test_the_bound_is_clopper_and_pearson_s():
    for hits, n, alpha in ((99, 100, 0.001), (60, 100, 0.05), (1, 7, 0.01), (7, 7, 0.01)):
        low = binomtest(hits, n).proportion_ci(1 - 2 * alpha, method="exact").low
        assert lower_bound(hits, n, alpha) == pytest.approx(low)
    assert lower_bound(0, 10, 0.05) == 0
    assert lower_bound(10, 10, 0.05) == pytest.approx(0.05**0.1)


class Always(nn.Module):
    def forward(self, images):
        return torch.tensor([[0.0, 1.0, 0.0]]).repeat(len(images), 1)


def test_no_radius_is_larger_than_the_draws_can_prove(images):
    smoothing = Smoothing(0.25, n0=3, n=50, alpha=0.01, batch=8)
    model = Always().eval()
    assert smoothing.counts(model, images[0], 50).tolist() == [0, 50, 0]
    assert smoothing.certify(model, images[0]) == Certificate(1, pytest.approx(0.25 * norm.ppf(0.01 ** (1 / 50))))


def test_it_abstains_where_noise_makes_both_as_likely(images):
    model, image = linear_model(0), torch.full(SHAPE, 0.5)  # on the boundary
    smoothing = Smoothing(0.5, n=400)
    assert smoothing.certify(model, image, seeded(0)) == Certificate(None, 0.0)
    assert smoothing.predict(model, image, seeded(0)) is None


def test_certified_accuracy_falls_with_the_radius(images):
    model = linear_model(0)
    labels = model(images).argmax(1)
    labels[0] = 1 - labels[0]
    smoothing, told = Smoothing(0.2, n=500), []
    batches = list(zip(images.split(4), labels.split(4), strict=True))
    found = certify(model, batches, smoothing, seed=2, advance=told.append)
    assert sum(told) == 10
    assert found == certify(model, batches, smoothing, seed=2)
    assert found[5] == (smoothing.certify(model, images[5], seeded(2, 5)), int(labels[5]))
    shares = [certified(found, radius) for radius in (0.0, 0.1, 0.2, 9.0)]
    assert [one.n for one in shares] == [10] * 4
    held = sum(one.label is not None for one, _ in found[1:])
    assert shares[0].right == held
    assert shares[0].right >= shares[1].right >= shares[2].right >= shares[3].right == 0
    assert not any(one.radius > far for (one, _), far in zip(found, distances(model, images), strict=True))


def test_what_is_wrong_is_said(images):
    with pytest.raises(TrainingError, match="sigma is above 0, alpha between 0 and 1"):
        Smoothing(0.0)
    with pytest.raises(TrainingError, match=r"count draws, 1 or more; got 0\.5, 0\.001, 0"):
        Smoothing(0.5, n0=0)
    with pytest.raises(TrainingError, match="in training mode"):
        Smoothing(0.5).certify(linear_model(0).train(), images[0])
    with pytest.raises(TrainingError, match="ε in pixels between 0 and 1"):
        Smoothing(0.5).predict(linear_model(0), 3 * images[0])
