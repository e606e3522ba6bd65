"""Search: within the budget always, the same for the same seed, better than chance, and no endless loops."""

from dataclasses import replace

import numpy as np
import pytest
from examples import few, mostly_swept
from hypothesis import given
from hypothesis import strategies as st
from small import made_once, mobilenet, vit

from elastic import SupernetSource
from elastic.errors import ArchError, BudgetError, CheckpointError, ProfileError
from elastic.profiles.profile import DeviceProfile
from elastic.searching.algorithms import ALGORITHMS
from elastic.searching.algorithms.linas import Linas
from elastic.searching.budget import Budget, CostModel, neighbour_rows
from elastic.searching.result import SearchResult
from elastic.searching.search import search
from elastic.space.sampling import spread_rows
from elastic.supernet.evaluation import MeasuredAccuracy, accuracy
from elastic.supernet.folder import digest_supernet
from elastic.timing.records import SubnetTiming
from elastic.timing.setting import Setting

VIT, MOBILENET = made_once("vit"), made_once("mobilenet")


class MadeUpProfile:
    """A device where latency follows from MACs and parameters."""

    def __init__(self, supernet, per_mac=1e-6, per_parameter=0.0):
        self.digest, self.per_mac, self.per_parameter = digest_supernet(supernet), per_mac, per_parameter
        self.device, self.setting, self.resolutions = {"processor": "none"}, Setting(), ()

    def check_supernet(self, supernet):
        if digest_supernet(supernet) != self.digest:
            raise ProfileError("another supernet's")

    def covers(self, supernet, rows):
        return np.ones(len(rows), bool)

    def latency_ms(self, supernet, archs):
        return 0.2 + supernet.macs(archs) * self.per_mac + supernet.params(archs) * self.per_parameter


@pytest.fixture(autouse=True)
def _short_inner_searches(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "linas", Linas(generations=8))


def score(arch):
    """A synthetic accuracy: it grows with some dims only, so that size alone doesn't win."""
    return {"accuracy": sum(value if name.startswith("mid") else -value for name, value in arch.items())}


def find(supernet=MOBILENET, **options):
    return search(supernet, minimize=["macs"], evaluate=score, **{"population": 12, "generations": 4, **options})


@few
@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_every_candidate_meets_the_budget(share, seed):
    low, high = MOBILENET.macs([MOBILENET.space.smallest, MOBILENET.space.largest])
    limit = float(low + share * (high - low))
    result = find(subject_to={"macs": limit}, seed=seed, generations=2)
    assert result.candidates
    for one in result.candidates:
        assert one.metrics["macs"] <= limit
        assert one.metrics["macs"] == MOBILENET.macs([one.arch])[0]
        assert one.metrics["memory_bytes"] == MOBILENET.memory([one.arch])[0]


def test_several_budgets_hold_at_once():
    middle = MOBILENET.space.sample(0, 50)
    limits = {
        "macs": float(np.median(MOBILENET.macs(middle))),
        "params": float(np.median(MOBILENET.params(middle))),
        "memory_bytes": float(np.median(MOBILENET.memory(middle))),
    }
    for one in find(subject_to=limits).candidates:
        assert all(one.metrics[name] <= limit for name, limit in limits.items())


def test_latency_comes_from_the_profile():
    profile = MadeUpProfile(VIT)
    limit = float(np.median(profile.latency_ms(VIT, VIT.space.sample(0, 50))))
    result = search(VIT, subject_to={"latency_ms": limit}, evaluate=score, profile=profile, population=6, generations=2)
    for one in result.candidates:
        assert one.metrics["latency_ms"] == profile.latency_ms(VIT, [one.arch])[0] <= limit
    assert result.device["processor"] == "none"


def test_several_devices_at_once():
    profiles = {"phone": MadeUpProfile(MOBILENET), "cpu": MadeUpProfile(MOBILENET, 1e-7, 1e-4)}
    latencies = {name: one.latency_ms(MOBILENET, MOBILENET.space.sample(0, 50)) for name, one in profiles.items()}
    limits = {f"latency_ms.{name}": float(np.median(found)) for name, found in latencies.items()}
    options = {"evaluate": score, "profile": profiles, "population": 6, "generations": 2}
    result = search(MOBILENET, minimize=["latency_ms.phone"], subject_to=limits, **options)
    for one in result.candidates:
        for name, profile in profiles.items():
            assert one.metrics[f"latency_ms.{name}"] == profile.latency_ms(MOBILENET, [one.arch])[0]
            assert one.metrics[f"latency_ms.{name}"] <= limits[f"latency_ms.{name}"]
    assert result.device["cpu"]["processor"] == "none"
    several = r"there are several devices, name one of latency_ms.phone, latency_ms.cpu"
    with pytest.raises(BudgetError, match="minimising latency_ms: " + several):
        search(MOBILENET, **options)
    with pytest.raises(BudgetError, match="a budget of latency_ms.gpu: " + several):
        search(MOBILENET, minimize=["macs"], subject_to={"latency_ms.gpu": 1.0}, **options)


@pytest.mark.parametrize("algorithm", mostly_swept(["nsga2", "evolution", "random", "dynamic"], ["nsga2", "dynamic"]))
def test_only_resolutions_that_a_profile_measured_are_found(algorithm):
    small = min(MOBILENET.space["resolution"].choices)
    archs = [arch for arch in MOBILENET.space.sample(0, 60) if arch["resolution"] == small]
    timings = [SubnetTiming(arch, (float(MOBILENET.params([arch])[0]),)) for arch in archs]
    profile = DeviceProfile(Setting(), {}, digest_supernet(MOBILENET), tuple(timings), resolutions=(small,))
    exact = {"latency_ms": profile.predictor(MOBILENET, "additive")} if algorithm == "dynamic" else {}
    found = search(
        MOBILENET, maximize=["macs"], profile=profile, predict=exact, algorithm=algorithm, population=6, generations=3
    )
    assert {one.arch["resolution"] for one in found.candidates} == {small}


def test_the_result_is_a_function_of_the_seed():
    assert find(seed=3) == find(seed=3)
    assert find(seed=3) != find(seed=4)


def test_no_subnet_is_evaluated_twice():
    result = find(population=16, generations=6)
    archs = [one.arch for one in result.candidates]
    assert len(archs) == len(set(archs)) == 96


def test_better_than_random_search():
    limit = float(np.quantile(MOBILENET.macs(MOBILENET.space.sample(9, 500)), 0.5))
    budget = Budget(CostModel(MOBILENET), {"macs": limit})
    for seed in range(3):
        found = find(subject_to={"macs": limit}, population=16, generations=8, seed=seed)
        rows = spread_rows(MOBILENET.space, seed + 100, 4096)
        archs = MOBILENET.space.decode(rows[budget.fits(rows)][:128])
        assert found.best.metrics["accuracy"] > max(score(arch)["accuracy"] for arch in archs)


def test_a_small_space_is_searched_through():
    supernet = vit(choices={"embed": None, "heads": None, "hidden": None})
    result = find(supernet, population=50, generations=5)
    assert {one.arch for one in result.candidates} == set(supernet.space.sample(0, 1000))


def test_a_budget_that_one_subnet_meets_finds_it():
    smallest = MOBILENET.space.smallest
    result = find(subject_to={"macs": int(MOBILENET.macs([smallest])[0])})
    assert [one.arch for one in result.candidates] == [smallest]


def test_objectives_may_be_costs_alone():
    result = search(MOBILENET, maximize=["params"], minimize=["macs"], population=12, generations=4)
    assert result.best.metrics["params"] == max(one.metrics["params"] for one in result.candidates)


# --- the front ----------------------------------------------------------------------------------------------


def test_the_front_is_ordered_and_holds_the_best():
    result = find()
    front = result.front
    assert result.best in front
    assert [one.metrics["macs"] for one in front] == sorted(one.metrics["macs"] for one in front)
    assert [one.metrics["accuracy"] for one in front] == sorted(one.metrics["accuracy"] for one in front)


def test_a_result_survives_its_file(tmp_path):
    result = find()
    assert SearchResult.load(result.save(tmp_path / "s.json")) == result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-40], "isn't a search result"),
        (lambda text: "{}", "its kind is None"),
        (lambda text: text.replace('"metrics"', '"numbers"'), "broken search result"),
    ],
)
def test_a_broken_result_is_refused(tmp_path, change, message):
    path = find(generations=1).save(tmp_path / "s.json")
    path.write_text(change(path.read_text()))
    with pytest.raises(CheckpointError, match=message):
        SearchResult.load(path)


# --- budgets ------------------------------------------------------------------------------------------------


def test_an_impossible_budget_is_refused_before_anything_is_evaluated():
    least = int(MOBILENET.macs([MOBILENET.space.smallest])[0])

    def never(arch):
        raise AssertionError("evaluated")

    with pytest.raises(BudgetError, match=rf"no subnet has macs ≤ .* nearest feasible value is macs = {least:g}"):
        search(MOBILENET, minimize=["macs"], subject_to={"macs": least - 1}, evaluate=never)


def test_two_budgets_that_exclude_each_other_are_refused():
    smallest, largest = MOBILENET.space.smallest, MOBILENET.space.largest
    limits = {"params": int(MOBILENET.params([largest])[0]), "macs": int(MOBILENET.macs([smallest])[0]) - 1}
    with pytest.raises(BudgetError, match=r"params = .* and macs = "):
        find(subject_to=limits)


def test_the_nearest_feasible_value_is_feasible():
    profile = MadeUpProfile(MOBILENET, 1e-7, 1e-5)
    least = min(profile.latency_ms(MOBILENET, [MOBILENET.space.smallest]))
    options = {"evaluate": score, "profile": profile, "generations": 1}
    with pytest.raises(BudgetError, match=r"nearest feasible value is latency_ms = [\d.]+") as raised:
        search(MOBILENET, subject_to={"latency_ms": least * 0.999}, **options)
    nearest = float(str(raised.value).split("latency_ms = ")[1].split(" ")[0])
    assert nearest == pytest.approx(least, rel=1e-4)
    assert search(MOBILENET, subject_to={"latency_ms": nearest}, **options).candidates


def test_a_generous_budget_binds_nothing():
    options = {"evaluate": score, "profile": MadeUpProfile(MOBILENET), "generations": 2}
    generous = search(MOBILENET, subject_to={"latency_ms": 8000, "params": 1e12, "memory_bytes": 1e15}, **options)
    assert generous.candidates == search(MOBILENET, **options).candidates


@pytest.mark.parametrize("limits", [{"latency_ms": 0.001}, {"macs": 0.1}, {"memory_bytes": 4}])
def test_a_tiny_budget_is_refused_with_the_nearest_one(limits):
    with pytest.raises(BudgetError, match="the nearest feasible value is"):
        search(MOBILENET, evaluate=score, profile=MadeUpProfile(MOBILENET), subject_to=limits)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"latency": 8.0}, "no cost is called 'latency'"),
        ({"latency_ms": 8.0}, "needs a device profile"),
        ({"macs": 0}, "must be a number above 0, got 0"),
        ({"macs": float("nan")}, "must be a number above 0"),
        ({"macs": "8"}, "must be a number above 0, got '8'"),
    ],
)
def test_a_wrong_budget_is_refused(limits, message):
    with pytest.raises(BudgetError, match=message):
        find(subject_to=limits)


def test_wrong_objectives_are_refused():
    with pytest.raises(BudgetError, match=r"accuracy isn.t a cost .* pass evaluate="):
        search(MOBILENET, minimize=["macs"])
    with pytest.raises(BudgetError, match="minimising latency_ms needs a device profile"):
        search(MOBILENET, evaluate=score)
    with pytest.raises(BudgetError, match="nothing to search for"):
        search(MOBILENET, maximize=[], minimize=[])
    with pytest.raises(BudgetError, match="without the objective 'robustness'"):
        search(MOBILENET, maximize=["robustness"], minimize=["macs"], evaluate=score)
    with pytest.raises(BudgetError, match="population"):
        find(population=0)
    with pytest.raises(BudgetError, match=r"wanted \['macs'\], got 'macs'"):
        search(MOBILENET, minimize="macs", evaluate=score)
    predict = {"accuracy": lambda rows: np.ones(len(rows))}
    with pytest.raises(BudgetError, match="the most that accuracy may be, and it is to be maximised"):
        search(MOBILENET, minimize=["macs"], predict=predict, subject_to={"accuracy": 0.9})


def test_metrics_of_numpy_are_budgets():
    most = MOBILENET.params(MOBILENET.space.sample(0, 1))[0]
    assert max(one.metrics["params"] for one in find(subject_to={"params": most}).candidates) <= most
    assert find(subject_to={"params": np.float32(most)}) == find(subject_to={"params": most})


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3", "evolution", "random", "linas"])
def test_a_space_of_one_subnet_is_searched(algorithm):
    source = SupernetSource("test_resnet", {"num_classes": 5}, options={"input_size": [3, 32, 32]})
    supernet = replace(source, arch=dict(source.build().space.smallest)).build()
    only = search(supernet, maximize=["accuracy"], minimize=["macs"], evaluate=lambda _: {"accuracy": 1.0},
                  algorithm=algorithm)  # fmt: skip
    assert [one.arch for one in only.candidates] == [supernet.space.largest]


def test_another_supernets_profile_is_refused():
    with pytest.raises(ProfileError):
        search(MOBILENET, evaluate=score, profile=MadeUpProfile(VIT))


def test_neighbours_differ_in_one_dim_and_are_all_there():
    counts = [len(dim.choices) for dim in VIT.space.dims]
    row = VIT.space.sample_rows(0, 1)
    around = neighbour_rows(row, counts)
    assert len(around) == sum(counts) - len(counts)
    assert ((around != row).sum(axis=1) == 1).all()
    assert len(np.unique(around, axis=0)) == len(around)


def test_spread_rows_are_archs_and_reach_further_than_uniform_ones():
    rows = spread_rows(MOBILENET.space, 0, 500)
    assert (MOBILENET.space.canonical(rows) == rows).all()
    uniform = MOBILENET.macs(MOBILENET.space.sample_rows(0, 500))
    assert MOBILENET.macs(rows).std() > 1.2 * uniform.std()


# --- measured accuracy --------------------------------------------------------------------------------------


def test_measured_accuracy_is_that_of_the_extracted_recalibrated_subnet():
    import torch

    import elastic.layers.batchnorm

    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, 3, 32, 32, generator=generator), torch.arange(8) % 5) for _ in range(2)]
    calibration = [torch.randn(16, 3, 32, 32, generator=generator) for _ in range(2)]
    supernet = mobilenet()
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    evaluate = MeasuredAccuracy(supernet, batches, calibration)
    arch = supernet.space.variant({"resolution": 24, "depth.1": 2})
    subnet = supernet.extract(arch)
    with supernet.active(arch):
        elastic.layers.batchnorm.recalibrate(subnet, [supernet.resize(images) for images in calibration])
        right = sum((subnet.eval()(supernet.resize(x)).argmax(1) == y).sum().item() for x, y in batches)
    assert evaluate(arch) == {"accuracy": 100 * right / 16}
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    with torch.no_grad():
        supernet.model.classifier.bias[:4] = -1e9
    assert evaluate(arch) == {"accuracy": 100 / 8}  # of the weights as they are now, which say 4 of everything
    with pytest.raises(ValueError, match="no images"):
        accuracy(subnet, [])
    with pytest.raises(ArchError):
        evaluate(elastic.Arch({"no": 1}))


def test_a_result_reads_as_two_lines_and_shows_its_front_as_a_table():
    result = search(MOBILENET, minimize=["macs"], evaluate=score, subject_to={"params": 1e9}, generations=2)
    first, second = repr(result).split("\n")
    assert first.startswith("SearchResult(accuracy ↑, macs ↓ within parameters ≤ 1G: ")
    assert second.startswith(f"  best {result.best.arch.id}: ")
    table = result._repr_html_()
    assert table.count("<tr>") == 1 + len(result.front)
    assert all(one.arch.id in table for one in result.front)
    assert repr(replace(result, candidates=())).endswith("by linas)")
    assert repr(MOBILENET) == f"Supernet(MobileNetV3, 50.1k parameters, {MOBILENET.space!r})"


def test_one_arch_costs_one_number():
    arch = MOBILENET.space.sample(0)
    for cost in (MOBILENET.macs, MOBILENET.params, MOBILENET.memory):
        assert cost(arch) == cost(dict(arch)) == cost([arch])[0]
        assert type(cost(arch)) is int
