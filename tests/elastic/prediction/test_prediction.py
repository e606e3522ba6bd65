"""Predictors: what is learned, how sure it is, and what is refused."""

import pickle

import numpy as np
import pytest
from small import made_once, mobilenet, vit

import elastic
from elastic.errors import ProfileError
from elastic.prediction.features import ArchFeatures, Groups
from elastic.prediction.predictor import REGRESSIONS, PredictionError, fit_predictor
from elastic.prediction.regression import Samples, fit_corrected, huber
from elastic.prediction.roofline import fit_roofline
from elastic.space.dims import Dim
from elastic.space.space import SearchSpace
from elastic.space.tables import Table, TableSum, look_up, tables_of

GROUPS = Groups(0, 0, 2)
LEARNED = [kind for kind in REGRESSIONS if kind != "corrected"]


@pytest.fixture(scope="module")
def supernet():
    return made_once("mobilenet")


@pytest.fixture(scope="module")
def features(supernet):
    return ArchFeatures(supernet.space, supernet)


def launch_or_compute(supernet, rows):
    """A device that takes what starting blocks takes, or what computing takes."""
    values = supernet.space.values(rows)
    blocks = sum(values[name] for name in values if name.startswith("depth"))
    return np.maximum(0.4 * blocks, supernet.macs(rows) * 2e-6)


# --- features -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [vit, mobilenet])
def test_features_are_macs_and_choices(family):
    supernet = family()
    rows = supernet.space.sample_rows(0, 50)
    features = ArchFeatures(supernet.space, supernet)
    seen, groups = features(rows), features.groups
    assert seen.shape[0] == 50
    assert seen.dtype == np.float64
    np.testing.assert_array_equal(seen[:, groups.blocks : groups.blocks + groups.macs].sum(1), supernet.macs(rows))
    existing = np.array(supernet.space.existing(rows)).sum(0)
    np.testing.assert_array_equal(seen[:, groups.metrics :].sum(1), existing)  # one choice of each dim that exists


def test_a_space_alone_has_features_too(supernet):
    features = ArchFeatures(supernet.space)
    rows = supernet.space.sample_rows(0, 300)
    predictor = fit_predictor(features, rows[:200], supernet.macs(rows[:200]), "ridge")
    assert "roofline" not in features.kinds
    assert PredictionError.of(predictor(rows[200:]), supernet.macs(rows[200:])).tau > 0.9


def test_sums_of_look_ups_are_those_of_a_loop():
    rows = np.random.default_rng(0).integers(0, 3, (40_000, 4)).astype(np.int16)
    table = np.random.default_rng(1).random((3, 3))
    space = SearchSpace(tuple(Dim(f"width.{at}", (1, 2, 3)) for at in range(4)))
    found = look_up([TableSum(space, [Table((0, 2), table)]), TableSum(space, [])], rows)
    np.testing.assert_array_equal(found[0], table[rows[:, 0], rows[:, 2]])
    assert not found[1].any()


# --- what is learned ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize("relative", [True, False])
def test_every_kind_learns_what_follows_from_the_arch(supernet, features, kind, relative):
    if kind == "roofline" and not relative:
        return
    rows = supernet.space.sample_rows(0, 400)
    targets = 1 + supernet.macs(rows) * 1e-6
    predictor = fit_predictor(features, rows[:120], targets[:120], kind, relative)
    error = PredictionError.of(predictor(rows[120:]), targets[120:])
    assert predictor.kind == kind
    assert error.tau > 0.8
    assert error.rmse < targets[120:].std() / 2
    assert 0.4 < predictor.error.rmse / error.rmse < 2.5  # cross-validation says how far it will be off


def test_a_roofline_is_found_where_no_line_fits(supernet, features):
    rows = supernet.space.sample_rows(1, 300)
    targets = launch_or_compute(supernet, rows)
    errors = {
        kind: PredictionError.of(fit_predictor(features, rows[:100], targets[:100], kind)(rows[100:]), targets[100:])
        for kind in ("roofline", "ridge")
    }
    assert errors["roofline"].mape < 2
    assert errors["roofline"].mape < errors["ridge"].mape


def test_a_roofline_has_no_negative_coefficient(supernet, features):
    rows = supernet.space.sample_rows(1, 60)
    model = fit_roofline(Samples(features(rows), launch_or_compute(supernet, rows), features.groups))
    assert min(model.launch.min(), model.compute.min()) >= 0


def test_auto_takes_the_least_cross_validated_error(supernet, features):
    rows = supernet.space.sample_rows(1, 40)
    targets = launch_or_compute(supernet, rows)
    best = fit_predictor(features, rows, targets)
    others = [fit_predictor(features, rows, targets, kind) for kind in ("ridge", "roofline", "gp", "boosting")]
    assert best.error.mape == min(other.error.mape for other in others)


@pytest.mark.parametrize("kind", ["ridge", "roofline", "corrected"])
def test_outliers_move_it_little(supernet, features, kind):
    rows = supernet.space.sample_rows(3, 300)
    wanted = 0.2 + supernet.macs(rows) * 1e-6
    noisy = wanted * np.where(np.random.default_rng(0).random(300) < 0.1, 1.5, 1.0)
    seen = features(rows) if kind != "corrected" else supernet.macs(rows)[:, None] * 1.0
    model = REGRESSIONS[kind].fit(Samples(seen[:200], noisy[:200], features.groups))
    assert np.abs(model(seen[200:]) / wanted[200:] - 1).mean() < 0.02


def test_nothing_is_learned_where_there_is_nothing_to_learn(supernet, features):
    noise = np.random.default_rng(0).random(60) + 1
    assert abs(fit_predictor(features, supernet.space.sample_rows(0, 60), noise, "ridge").error.tau) < 0.4


@pytest.mark.parametrize("kind", LEARNED)
def test_the_same_seed_gives_the_same_model_and_it_survives_pickling(supernet, features, kind):
    seen = features(supernet.space.sample_rows(0, 30))
    targets = 1 + supernet.macs(supernet.space.sample_rows(0, 30)) * 1e-6
    one, other = (REGRESSIONS[kind].fit(Samples(seen, targets, features.groups, True, 3)) for _ in range(2))
    np.testing.assert_array_equal(one(seen), other(seen))
    np.testing.assert_array_equal(one(seen), pickle.loads(pickle.dumps(one))(seen))


def test_a_predictor_survives_pickling_and_takes_no_archs_at_all(supernet, features):
    rows = supernet.space.sample_rows(0, 30)
    predictor = fit_predictor(features, rows, 1 + supernet.macs(rows) * 1e-6, "ridge")
    np.testing.assert_array_equal(predictor(rows), pickle.loads(pickle.dumps(predictor))(rows))
    assert predictor(rows[:0]).shape == (0,)


def test_large_errors_weigh_less():
    weights = huber(np.array([-1.0, 1.0, -1.0, 100.0]))
    np.testing.assert_array_equal(weights[:3], 1.0)
    assert weights[3] == pytest.approx(1.345 * 1.483 / 100)


def test_a_correction_has_no_negative_coefficient():
    table = np.random.default_rng(0).random((50, 2)) + 1
    model = fit_corrected(Samples(table, 0.5 + 1.2 * table[:, 0] - 0.01 * table[:, 1], GROUPS))
    assert model.constant >= 0
    assert model.weights.min() >= 0
    exact = fit_corrected(Samples(table, 0.5 + 1.2 * table[:, 0] + 0.3 * table[:, 1], GROUPS))
    np.testing.assert_allclose([exact.constant, *exact.weights], [0.5, 1.2, 0.3], rtol=1e-6)


# --- sums of tables -----------------------------------------------------------------------------------------


def test_an_additive_predictor_is_the_sum_of_its_tables(supernet, features):
    rows = supernet.space.sample_rows(0, 100)
    predictor = fit_predictor(features, rows, 1 + supernet.macs(rows) * 1e-6, "additive")
    total = sum(table.values[tuple(rows[:, list(table.columns)].T)] for table in predictor.tables)
    np.testing.assert_allclose(total, predictor(rows), rtol=1e-9)
    assert tables_of(predictor) is not None
    assert tables_of(fit_predictor(features, rows, 1 + supernet.macs(rows) * 1e-6, "ridge")) is None


# --- intervals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_hold_the_share_that_they_say(supernet, features, relative, coverage):
    rng = np.random.default_rng(0)
    rows = supernet.space.sample_rows(5, 3000)
    clean = 5 + supernet.macs(rows) * 1e-6
    targets = clean * rng.lognormal(0, 0.1, 3000) if relative else clean + rng.exponential(1.0, 3000)
    predictor = fit_predictor(features, rows[:300], targets[:300], "ridge", relative)
    low, high = predictor.interval(rows[300:], coverage)
    inside = np.mean((low <= targets[300:]) & (targets[300:] <= high))
    assert abs(inside - coverage) < 0.06
    widths = (high - low) / (predictor(rows[300:]) if relative else 1.0)
    assert np.ptp(widths) < 1e-9


def test_too_few_measurements_give_an_infinite_interval(supernet, features):
    rows = supernet.space.sample_rows(0, 8)
    predictor = fit_predictor(features, rows, 1 + supernet.macs(rows) * 1e-6, "ridge")
    low, high = predictor.interval(rows, 0.9)  # nine tenths of nine is more than eight
    assert np.isinf(high).all()
    assert (low == 0).all()
    assert np.isfinite(predictor.interval(rows, 0.8)[1]).all()


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "oracle"}, "no predictor 'oracle' .* choose auto or one of additive, ridge, roofline"),
        ({"kind": "corrected"}, "no predictor 'corrected' of such a metric"),
        ({"kind": "roofline", "relative": False}, "no predictor 'roofline' of such a metric"),
        ({"targets": np.ones(7)}, r"one value for each of 20 subnets, got shape \(7,\)"),
        ({"targets": np.arange(20.0)}, "numbers above 0; that of subnet 0 is 0.0"),
        ({"targets": np.full(20, np.nan), "relative": False}, "must be finite numbers; that of subnet 0 is nan"),
    ],
)
def test_what_cannot_be_fitted_is_refused(supernet, features, change, message):
    given = {"rows": supernet.space.sample_rows(0, 20), "targets": np.ones(20), **change}
    with pytest.raises(ProfileError, match=message):
        fit_predictor(features, **given)


def test_too_few_measurements_are_refused(supernet, features):
    with pytest.raises(ProfileError, match="8 measured subnets or more, got 5; measure more"):
        fit_predictor(features, supernet.space.sample_rows(0, 5), np.ones(5))


def test_an_impossible_coverage_is_refused(supernet, features):
    rows = supernet.space.sample_rows(0, 10)
    predictor = fit_predictor(features, rows, 1 + supernet.macs(rows) * 1e-6, "ridge")
    with pytest.raises(ProfileError, match=r"between 0 and 1, such as 0.9; got 90"):
        predictor.interval(rows, 90)


# --- what evaluating gives ------------------------------------------------------------------------------------


def test_each_metric_that_is_measured_gets_a_predictor_of_its_own(tmp_path):
    """A search on the predictors finds the front that measuring everything would."""
    supernet, asked = mobilenet(), []

    def evaluate(arch):
        asked.append(arch)
        macs, params = float(supernet.macs([arch])[0]), float(supernet.params([arch])[0])
        return {"accuracy": 90 + np.log(macs), "robust": 40 - 1e-4 * params}

    found = elastic.learn_predictors(supernet, evaluate, 60, kind="ridge", cache=tmp_path / "measured.jsonl")
    assert len(asked) == len(set(asked)) == 60
    assert {supernet.space.smallest, supernet.space.largest} <= set(asked)
    rows = supernet.space.sample_rows(5, 100)
    for name in ("accuracy", "robust"):
        wanted = np.array([evaluate(arch)[name] for arch in supernet.space.decode(rows)])
        error = PredictionError.of(found[name](rows), wanted)
        assert error.tau > 0.8
        assert 0.3 < found[name].error.rmse / error.rmse < 3
    asked.clear()
    again = elastic.learn_predictors(supernet, evaluate, 60, kind="ridge", cache=tmp_path / "measured.jsonl")
    assert not asked
    np.testing.assert_array_equal(again["robust"](rows), found["robust"](rows))
    result = elastic.search(
        supernet, maximize=["accuracy", "robust"], minimize=[], predict=found, population=50, generations=20
    )
    best = {name: max(one.metrics[name] for one in result.candidates) for name in ("accuracy", "robust")}
    assert best["accuracy"] > evaluate(supernet.space.largest)["accuracy"] - 0.5
    assert best["robust"] > evaluate(supernet.space.smallest)["robust"] - 0.5


def test_too_few_subnets_carry_no_prediction():
    def evaluate(arch):
        raise AssertionError("nothing is measured in vain")

    for subnets in (4, 0, -5):
        with pytest.raises(ProfileError, match="8 measured subnets"):
            elastic.learn_predictors(mobilenet(), evaluate, subnets)
