"""The command attack, over a supernet with BatchNorm that normalises images itself and that nobody has trained."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from elastic.errors import ArchError, TrainingError, UsageError
from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.supernet.evaluation import MeasuredAccuracy, resized
from elastic.supernet.folder import digest_supernet, load_supernet, save_supernet
from elastic.supernet.source import SupernetSource
from trainers.cli.attack import attack, parse_archs
from trainers.cli.main import main
from trainers.jobs.calibration import calibration_for
from trainers.jobs.data_section import load_data
from trainers.jobs.judge import held_out
from trainers.robust.accuracy import Robustness, Share, measure_robustness
from trainers.robust.attack_report import Attacked, certified_table, data_uri, suspects
from trainers.robust.attacks import Threat
from trainers.robust.gradient_masking import MEANING, Check


@pytest.fixture
def run(source, tmp_path):
    """A run's folder as training leaves it."""
    source = SupernetSource.from_dict({**source.to_dict(), "normalize": {"mean": [0.3], "std": [0.4]}})
    supernet = source.build()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # else it says the same of every image
        supernet.model.fc.weight.copy_(torch.randn(supernet.model.fc.weight.shape, generator=generator))
    folder = save_supernet(supernet, source, tmp_path / "run")
    data = {"class_path": "Digits", "init_args": {"batch_size": 16, "raw": True}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder


@pytest.fixture
def few(monkeypatch):
    """Checks and certificates on few images, with few queries."""
    monkeypatch.setattr("trainers.robust.examiner.CHECKED_IMAGES", 6)
    monkeypatch.setattr("trainers.robust.gradient_masking.BLIND", "square-4")


def test_subnets_are_attacked_checked_certified_and_reported(run, few, tmp_path, capsys):
    pytest.importorskip("torchattacks")
    out, page = tmp_path / "a.json", tmp_path / "a.html"
    words = ["attack", str(run), "--attacks", "fgsm,pgd-2,apgd-ce-2", "--images", "20", "--batch", "12", "--epsilon"]
    words += ["0.05", "--certify", "0.25", "--samples", "20", "--out", str(out), "--report", str(page)]
    assert main(words) == 0
    values = json.loads(out.read_text())
    assert [one["name"] for one in values["subnets"]] == ["smallest", "largest"]
    for one in values["subnets"]:
        shares = one["shares"]
        assert list(shares) == ["clean", "fgsm", "pgd-2", "apgd-ce-2", "worst"]
        assert all(share["n"] == 20 and share["low"] <= share["accuracy"] <= share["high"] for share in shares.values())
        assert shares["worst"]["right"] <= min(shares[name]["right"] for name in ("fgsm", "pgd-2", "apgd-ce-2"))
        assert len(one["checks"]) == 5
        assert "gradient attacks never leave more than a gradient-free one" in json.dumps(one["checks"])
        assert one["certified"][0]["radius"] == 0
        assert one["certified"][0]["n"] == 6
    shown = capsys.readouterr().out
    assert "gradient attacks" in " ".join(shown.split())  # the table breaks the rule's lines
    assert "20 test images" in shown
    text = page.read_text("utf-8")
    for title in ("Can the attacks be trusted?", "What is certain", "Attacked images", "block by block"):
        assert title in text


def test_the_metrics_are_those_of_the_subnets_as_they_are_cut_out(run, tmp_path):
    out = tmp_path / "a.json"
    attack(
        str(run), "smallest", attacks="pgd-2", images=20, batch=8, epsilon="4/255", sanity=False, seed=3, out=str(out)
    )
    found = json.loads(out.read_text())["subnets"][0]
    supernet, data = load_supernet(run), load_data(run / "config.yaml")
    arch = supernet.space.smallest
    model = MeasuredAccuracy(supernet, [], calibration_for(supernet, data)).subnet(arch)
    batches, _ = held_out(data, "test", 20, 8)
    assert [len(labels) for _, labels in batches] == [8, 8, 4]
    sizes = resized(supernet, arch, [images for images, _ in batches])
    sized = [(images, labels) for images, (_, labels) in zip(sizes, batches, strict=True)]
    assert sized[0][0].shape[-1] < 32
    robustness = measure_robustness(model, sized, ["pgd-2"], Threat("linf", "4/255"), 3)
    assert {name: share["right"] for name, share in found["shares"].items()} == {
        name: share.right for name, share in robustness.shares.items()
    }
    assert found["macs"] == int(supernet.macs([arch])[0])


def test_which_subnets(run, tmp_path):
    space = (supernet := load_supernet(run)).space
    assert parse_archs(supernet, None, 0, None, 8, 0) == {"smallest": space.smallest, "largest": space.largest}
    drawn = parse_archs(supernet, "", 2, None, 8, 5)
    assert drawn == dict(zip(("middle_1", "middle_2"), space.sample(5, 2), strict=True))
    one = space.sample(1)
    assert parse_archs(supernet, one.to_json(), 0, None, 8, 0) == {one.id: one}
    (tmp_path / "mine.json").write_text(space.largest.to_json())
    assert parse_archs(supernet, f"{tmp_path / 'mine.json'},largest", 0, None, 8, 0) == {"mine": space.largest}

    candidates = tuple(
        EvaluatedSubnet(arch, {"accuracy": at, "macs": at}) for at, arch in enumerate(space.sample(2, 5))
    )
    result = SearchResult(digest_supernet(supernet), ("accuracy",), ("macs",), {}, candidates).save(tmp_path / "s.json")
    chosen = parse_archs(supernet, None, 0, str(result), 3, 0)
    assert candidates[-1].arch in chosen.values()
    assert 1 < len(chosen) <= 3
    with pytest.raises(UsageError, match="either --archs, or --result"):
        parse_archs(supernet, "smallest", 0, str(result), 3, 0)
    with pytest.raises(UsageError, match="no subnets: name some with --archs"):
        parse_archs(supernet, "", 0, None, 8, 0)
    with pytest.raises(ArchError):
        parse_archs(supernet, "medium", 0, None, 8, 0)


def test_images_that_chose_nothing_are_taken_where_there_are_any(run):
    data = load_data(run / "config.yaml")
    test, where = held_out(data, "test", 10, 100)
    assert where == "10 test images."
    assert torch.equal(test[0][0], next(iter(data.test_dataloader()))[0][:10])
    val, where = held_out(data, "val", 10, 100)
    assert where == "10 validation images."
    assert torch.equal(val[0][0], next(iter(data.val_dataloader()))[0][:10])
    data._splits = replace(data.splits, test=data.splits.val)
    same, where = held_out(data, "test", 10, 100)
    assert torch.equal(same[0][0], val[0][0])
    assert where.startswith("10 validation images. This data set has no test images of its own")


def test_mistakes_end_in_one_clear_sentence(run, tmp_path):
    out = str(tmp_path / "a.json")
    with pytest.raises(TrainingError, match="no attack 'fog'"):
        attack(str(run), attacks="fog", out=out)
    with pytest.raises(TrainingError, match="cw is an attack of norm l2"):
        attack(str(run), attacks="cw", out=out)
    with pytest.raises(TrainingError, match="8 of 255 is 8/255"):
        attack(str(run), epsilon="8", attacks="pgd", out=out)
    with pytest.raises(UsageError, match="--attacks is empty"):
        attack(str(run), attacks=" ", out=out)
    with pytest.raises(UsageError, match="--images 0: wanted 1 or more"):
        attack(str(run), attacks="pgd", images=0, out=out)
    with pytest.raises(UsageError, match="--seed -1: wanted 0 or more"):
        attack(str(run), attacks="pgd", seed=-1, out=out)
    with pytest.raises(UsageError, match="--split train: wanted test or val"):
        attack(str(run), attacks="pgd", split="train", out=out)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=r"--device cuda: PyTorch can.t compute on that here"):
            attack(str(run), attacks="pgd", device="cuda", out=out)
    (run / "config.yaml").write_text(yaml.safe_dump({"data": {"class_path": "Digits"}}))
    with pytest.raises(TrainingError, match="whatever normalises them belongs into the model"):
        attack(str(run), attacks="pgd", out=out)
    assert not (tmp_path / "a.json").exists()


def test_a_failed_check_is_named(run):
    arch = load_supernet(run).space.smallest
    robustness = Robustness(Threat(), {"clean": Share(1, 2), "worst": Share(0, 2)})
    sound, bad = Check("a", True, "…"), Check("b", False, "…")
    subnets = [Attacked("one", arch, 1, 1, robustness, [sound]), Attacked("two", arch, 1, 1, robustness, [sound, bad])]
    assert suspects(subnets) == ["two"]
    assert "gradient masking suspected" in MEANING


def test_subnets_that_are_certain_within_different_radii_share_a_table(run):
    arch = load_supernet(run).space.smallest
    robustness = Robustness(Threat(), {"clean": Share(1, 2), "worst": Share(0, 2)})
    radii = {"one": {0.0: Share(1, 2), 0.1: Share(0, 2)}, "two": {0.0: Share(2, 2), 0.1: Share(1, 2), 0.2: Share(0, 2)}}
    table = certified_table([Attacked(name, arch, 1, 1, robustness, certified=found) for name, found in radii.items()])
    assert [column.header for column in table.columns] == ["certified within", "0", "0.1", "0.2"]
    shown = [[cell.partition("\n")[0] for cell in column.cells] for column in table.columns]
    assert shown == [["one", "two"], ["50.0 %", "100.0 %"], ["0.0 %", "50.0 %"], ["0.0 %", "0.0 %"]]


def test_images_are_attacked_for_a_report_only_where_one_is_written(run, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "trainers.robust.examiner.make_attack", lambda name, model, images, *_: made.append(name) or images
    )
    options = {"attacks": "fgsm,fgsm", "images": 8, "sanity": False, "out": str(tmp_path / "a.json")}
    attack(str(run), "smallest", **options)
    assert made == []
    attack(str(run), "smallest", **options, report=str(tmp_path / "a.html"))
    assert made == ["fgsm"]
    assert json.loads((tmp_path / "a.json").read_text())["attacks"] == ["fgsm"]


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_in_a_page_is_the_image(channels):
    pixels = torch.rand((channels, 5, 7), generator=torch.Generator().manual_seed(0))
    head, _, text = data_uri(pixels).partition(",")
    assert head == "data:image/png;base64"
    seen = np.atleast_3d(np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))) / 255
    np.testing.assert_allclose(seen.transpose(2, 0, 1), pixels.numpy(), atol=0.5 / 255 + 1e-6)
