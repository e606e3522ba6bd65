"""The command search, over a supernet with BatchNorm that nobody has trained."""

import csv
import shutil
from dataclasses import replace

import pytest
import torch

from elastic.errors import BudgetError, CheckpointError, ExportError, ProfileError, UsageError
from elastic.profiles.measuring import measure_profile
from elastic.profiles.profile import DeviceProfile
from elastic.searching.result import SearchResult
from elastic.shipping.loading import load_subnet
from elastic.supernet.evaluation import accuracy, resized
from elastic.supernet.folder import load_supernet
from trainers.cli.arguments import load_profiles
from trainers.cli.main import main
from trainers.cli.search import search
from trainers.jobs.calibration import first_images
from trainers.jobs.data_section import load_data
from trainers.jobs.judge import Judge
from trainers.jobs.search_report import prediction_note


def test_search_then_extract(run, tmp_path, capsys):
    supernet = load_supernet(run)
    measure_profile(supernet, subnets=8, time_limit=0.1, blocks=0).save(tmp_path / "p.json")
    out, page = tmp_path / "s.json", tmp_path / "r.html"
    words = ["search", str(run), "--profile", str(tmp_path / "p.json"), "--budget", "macs=1e6"]
    words += ["--population", "3", "--generations", "2", "--images", "32", "--again_seconds", "0.1"]
    words += ["--out", str(out), "--report", str(page)]
    assert main(words) == 0
    assert page.exists()
    result = SearchResult.load(out)
    assert len(result.candidates) == 6
    assert all(one.metrics["macs"] <= 1e6 for one in result.candidates)
    assert result.best.arch.id in capsys.readouterr().out

    assert main(["extract", str(run), "--result", str(out), "--out", str(tmp_path / "sub")]) == 0
    subnet, config = load_subnet(tmp_path / "sub")
    assert config["arch"] == dict(result.best.arch)
    data = load_data(run / "config.yaml")
    batches = first_images(data.val_dataloader(), 32)
    images = resized(supernet, result.best.arch, [one for one, _ in batches])
    again = accuracy(subnet, zip(images, [labels for _, labels in batches], strict=True))
    assert again == result.best.metrics["accuracy"]


def test_the_search_takes_as_many_threads_as_asked(run, tmp_path, monkeypatch):
    seen, before = [], torch.get_num_threads()

    def fruitless(*_, **__):
        seen.append(torch.get_num_threads())
        raise BudgetError("nothing found")

    monkeypatch.setattr("trainers.jobs.search.search", fruitless)
    for threads in (1, 2):
        with pytest.raises(BudgetError):
            search(str(run), out=str(tmp_path / "s.json"), threads=threads)
    assert seen == [1, 2]
    assert torch.get_num_threads() == before


@pytest.fixture
def profile(run, tmp_path):
    """A profile of this device, in a file."""
    return measure_profile(load_supernet(run), subnets=8, blocks=0, time_limit=0.1).save(tmp_path / "p.json")


def test_the_front_is_measured_again_and_reported(run, profile, tmp_path, capsys):
    out = tmp_path / "s.json"
    words = ["search", str(run), "--profile", str(profile), "--population", "3", "--generations", "2", "--again", "2"]
    words += ["--images", "32", "--again_seconds", "0.1", "--out", str(out)]
    words += ["--report", str(tmp_path / "r.html"), "--csv", str(tmp_path / "s.csv")]
    assert main(words) == 0
    result = SearchResult.load(out)
    again = [one for one in result.candidates if one.measured]
    assert result.best in again
    assert 1 <= len(again) <= 2
    assert all(set(one.measured) == {"accuracy", "latency_ms"} for one in again)
    page = (tmp_path / "r.html").read_text("utf-8")
    for text in ("measured again", "Predicted against measured", "how the search went on"):
        assert text in page
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert len(rows) == len(result.candidates)


def test_a_search_goes_on_from_its_cache(run, tmp_path, monkeypatch):
    words = {"population": 3, "generations": 2, "images": 32, "again": 0}
    search(str(run), out=str(tmp_path / "a.json"), **words)
    whole = SearchResult.load(tmp_path / "a.json")

    calls = []
    plain = Judge.__init__

    def counted(self, *args):
        plain(self, *args)
        validation = self.validation
        self.validation = lambda arch: calls.append(arch) or validation(arch)

    monkeypatch.setattr(Judge, "__init__", counted)
    search(str(run), out=str(tmp_path / "a.json"), **words)
    assert SearchResult.load(tmp_path / "a.json") == whole
    assert not calls


def test_a_cache_belongs_to_what_is_in_images_not_to_their_place(run, tmp_path, image_folder):
    """Images that moved have the same cache; others, one that is changed, and another order have one of their own."""
    caches = []

    def fruitless(*_, cache, **__):
        caches.append(cache.name)
        raise BudgetError("nothing found")

    def cache_of(data, **options):
        with pytest.raises(BudgetError):
            search(
                str(run), images=32, data=None if data is None else str(data), out=str(tmp_path / "s.json"), **options
            )
        return caches[-1]

    other = tmp_path / "other.yaml"
    other.write_text("data: {class_path: Digits, init_args: {batch_size: 16, seed: 1}}")
    again = tmp_path / "again.yaml"
    again.write_text((run / "config.yaml").read_text() + "name: again\n")
    grey = tmp_path / "grey"
    for split in ("train", "val"):
        for k in range(10):  # as many classes as the supernet has
            shutil.copytree(image_folder / split / f"class_{k % 3}", grey / split / f"class_{k}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainers.jobs.search.search", fruitless)
        assert cache_of(None) == cache_of(again)
        first = cache_of(grey)
        moved = grey.rename(tmp_path / "moved")
        assert cache_of(moved) == first
        changed = next((moved / "val" / "class_0").iterdir())
        changed.write_bytes(next((moved / "val" / "class_1").iterdir()).read_bytes())
        assert len({first, cache_of(moved), cache_of(None), cache_of(other)}) == 4
        assert len({cache_of(None, robust=radius) for radius in ("0.00001", "0.00004")}) == 2
    assert all(name.startswith("s.32-images-") for name in caches)


def test_several_devices_at_once(run, profile, tmp_path):
    here = DeviceProfile.load(profile)
    other = replace(here, device={**here.device, "processor": "abacus"}).save(tmp_path / "q.json")
    out = tmp_path / "s.json"
    short = {"population": 3, "generations": 1, "images": 32, "again": 1, "again_seconds": 0.1}
    search(str(run), profile=f"here={profile},phone={other}", out=str(out), **short)
    result = SearchResult.load(out)
    assert result.minimize == ("latency_ms.here", "latency_ms.phone")
    assert set(result.best.measured) == {"accuracy", "latency_ms.here"}  # the phone isn't here
    with pytest.raises(ProfileError, match="need names"):
        load_profiles(f"{profile},{other}", load_supernet(run))
    with pytest.raises(ProfileError, match="nowhere"):
        load_profiles("here=nowhere.json", load_supernet(run))


def test_fresh_images_are_not_those_that_chose(run):
    data, supernet = load_data(run / "config.yaml"), load_supernet(run)
    judge = Judge(supernet, data, 32)
    assert judge.fresh is not None
    test = next(iter(data.test_dataloader()))[0]
    assert torch.equal(judge.fresh.validation[0][0], test)

    shared = data.splits
    data._splits = replace(shared, test=shared.val)  # as where a folder has no test images
    left = Judge(supernet, data, 32).fresh.validation
    chosen = Judge(supernet, data, 32).validation.validation
    assert not any(torch.equal(a, b) for a, _ in left for b, _ in chosen)
    assert Judge(supernet, data, 10**6).fresh is None


def test_mistakes_end_in_one_clear_sentence(run, tmp_path):
    with pytest.raises(BudgetError, match="needs a device profile: make one with `elastic profile`"):
        search(str(run), "latency_ms=8", out=str(tmp_path / "s.json"))
    assert not (tmp_path / "s.json").exists()
    with pytest.raises(UsageError, match="--images 0: wanted 1 or more"):
        search(str(run), images=0)
    with pytest.raises(ExportError, match="no format 'foo'; choose of safetensors, onnx"):
        search("nowhere", extract=str(tmp_path / "sub"), formats="foo")
    with pytest.raises(UsageError, match="--threads 0: wanted 1 or more"):
        search(str(run), threads=0)
    with pytest.raises(UsageError, match="--again_seconds -1: wanted 0 or more"):
        search(str(run), again_seconds=-1)
    (run / "config.yaml").write_text("model: {}")
    with pytest.raises(CheckpointError, match="has no data section"):
        search(str(run))
    (run / "config.yaml").write_text("data: {class_path: Soup}")
    with pytest.raises(CheckpointError, match="has no data section that can be understood"):
        search(str(run))
    (run / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="doesn't exist; pass --data"):
        search(str(run))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maximize": "acuracy"}, "--maximize acuracy: no such metric here; did you mean accuracy?"),
        ({"maximize": "accuracy,rob"}, "--maximize rob: no such metric here; there are accuracy, f1, "),
        ({"maximize": "robust"}, "--maximize robust: .* is measured with --robust, such as --robust 8/255"),
        ({"minimize": "mac"}, "--minimize mac: no such metric here; did you mean macs?"),
        ({"minimize": "latency_ms"}, "--minimize latency_ms: .* needs a device profile: make one"),
        ({"minimize": "latency_ms", "profile": "phone=p.json,cpu=q.json"}, "did you mean latency_ms.cpu or latency_ms"),
        ({"budget": "parms=1M"}, "--budget parms: no such metric here; did you mean params?"),
        ({"budget": "latency=8ms"}, "--budget latency_ms: .* needs a device profile"),
        ({"algorithm": "nsga"}, "no algorithm is called 'nsga'; did you mean nsga2 or nsga3?"),
    ],
)
def test_metrics_that_do_not_exist_are_said_before_anything_is_opened(options, message, monkeypatch, tmp_path):
    monkeypatch.setattr("trainers.jobs.trained.open_trained", lambda *_: pytest.fail("opened"))
    with pytest.raises(BudgetError, match=message):
        search(str(tmp_path), out=str(tmp_path / "s.json"), **options)


@pytest.mark.parametrize(("predictor", "maximize"), [(0, "f1"), (8, "matthews")])
def test_a_metric_that_the_data_lacks_is_said_before_anything_is_measured(predictor, maximize, run, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elastic.supernet.evaluation.MeasuredAccuracy.__call__", lambda *_: pytest.fail("measured"))
        with pytest.raises(BudgetError, match=f"--maximize {maximize}: .*; there are accuracy, macs, params"):
            search(str(run), maximize=maximize, predictor=predictor, images=16, out=str(tmp_path / "s.json"))


def test_a_table_of_once_for_all_is_a_profile(tmp_path, monkeypatch):
    (tmp_path / "tables").mkdir()
    asked = []
    monkeypatch.setattr("zoo.published.latency_tables.load_ofa_table", lambda *given: asked.append(given) or "profile")
    for place in (tmp_path / "tables", tmp_path / "note10.yaml"):
        assert load_profiles(str(place), "supernet") == {"": "profile"}
        assert asked.pop() == (str(place), "supernet", place.stem)


def test_a_report_says_what_latencies_are_predicted_from(run, profile):
    supernet, measured = load_supernet(run), DeviceProfile.load(profile)
    assert "cross-validated over 8 measured subnets" in prediction_note(measured, supernet)
    assert "no whole subnet was measured" in prediction_note(replace(measured, subnets=()), supernet)
