"""Where a supernet is, is asked once: what a run's folder, a name and an exported subnet's folder say."""

import itertools
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from small import mobilenet

import elastic
from elastic.errors import CheckpointError, TrainingError, UsageError
from elastic.shipping.loading import load_subnet
from elastic.supernet.evaluation import MeasuredAccuracy
from elastic.supernet.folder import digest_supernet, load_supernet, save_supernet
from elastic.supernet.registry import named_supernet
from elastic.support.reading import read_json
from trainers import Digits
from trainers.cli.attack import attack
from trainers.cli.extract import extract
from trainers.cli.main import main
from trainers.jobs.trained import keep_statistics, open_trained

FASHION = "ofa_mbv3_fashion_mnist"


def test_a_runs_folder(run, source):
    trained = open_trained(run)
    assert trained.place == str(run)
    assert trained.supernet.space.dims == source.build().space.dims
    assert trained.source.layout is not None
    assert trained.digest == digest_supernet(trained.supernet)
    assert isinstance(trained.data(), Digits)
    assert (trained.name, trained.license, trained.tokenizer, trained.made_up) == ("", "", "", [])
    assert trained.has_data


def test_a_name():
    trained = open_trained(FASHION)
    assert trained.name == FASHION
    assert trained.license == "Apache-2.0"
    assert trained.made_up
    assert trained.tokenizer == ""
    assert not trained.has_data
    assert trained.source.model == FASHION
    with pytest.raises(UsageError, match=f"{FASHION} is a named supernet, which has no data of its own"):
        trained.data()


def test_what_a_place_is_is_asked_once_and_its_description_read_once(run, tmp_path, monkeypatch):
    asked, read = [], []

    def looked_up(place):
        asked.append(str(place))
        return named_supernet(place)

    def reading(path, *rest):
        read.append(Path(path))
        return read_json(path, *rest)

    monkeypatch.setattr("trainers.jobs.trained.named_supernet", looked_up)
    monkeypatch.setattr("elastic.supernet.folder.named_supernet", looked_up)
    monkeypatch.setattr("elastic.supernet.folder.read_json", reading)
    extract(str(run), "smallest", out=str(tmp_path / "sub"))
    extract(FASHION, "smallest", out=str(tmp_path / "named"))
    extract(str(tmp_path / "sub"), out=str(tmp_path / "again"))
    assert asked == [str(run), FASHION, str(tmp_path / "sub")]
    assert read == [run / "supernet.json"]


def test_one_line_says_what_it_is(run):
    assert repr(open_trained(run)) == f"Trained({str(run)!r}, {load_supernet(run)!r})"
    assert "\n" not in repr(open_trained(run))


@pytest.mark.parametrize("words", [["search", FASHION, "--budget", "macs=2M"], ["attack", FASHION]])
def test_data_that_is_not_there_is_said_before_weights_are_loaded(words, monkeypatch, capsys):
    monkeypatch.setattr("trainers.jobs.trained.load_named", lambda name: pytest.fail(f"loaded {name}"))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"elastic: {FASHION} is a named supernet, which has no data of its own; give some, a folder")
    assert said.endswith("such as --data my_images\n")
    assert main([*words, "--data", "nowhere"]) == 2
    assert "--data nowhere doesn't exist; give a folder of images" in capsys.readouterr().err


def test_an_exported_subnet_is_a_supernet_of_one_with_its_own_statistics(run, tmp_path):
    extract(str(run), load_supernet(run).space.sample(1).to_json(), out=str(tmp_path / "sub"))
    subnet, _ = load_subnet(tmp_path / "sub")
    trained = open_trained(tmp_path / "sub")
    assert trained.supernet.space.size == 1
    images = torch.randn(2, *trained.supernet.input_shape(), generator=torch.Generator().manual_seed(0))
    alone = trained.supernet.extract(trained.supernet.space.largest)
    with torch.no_grad():
        assert torch.equal(alone(images), subnet(images))
    assert trained.recalibrate is keep_statistics
    before = alone.bn1.running_mean.clone()
    trained.recalibrate(alone, [images])
    assert torch.equal(alone.bn1.running_mean, before)


def test_the_names_of_its_classes_go_with_it(run, source, tmp_path, capsys):
    names = [f"animal {k}" for k in range(10)]
    save_supernet(source.build(), source, run, classes=names)
    extract(str(run), "smallest", out=str(tmp_path / "subnet"))
    config = read_json(tmp_path / "subnet" / "config.json", CheckpointError, "a subnet")
    assert config["card"]["classes"] == names
    assert "| classes | animal 0, animal 1, " in (tmp_path / "subnet" / "README.md").read_text()
    extract(str(run), "largest", out=str(tmp_path / "subnet"))
    assert f"held subnet {config['arch_id']}, which this one replaced" in capsys.readouterr().out.replace("\n", " ")
    for split, name in itertools.product(("train", "val"), (*names[1:], "zebra")):
        (tmp_path / "zoo" / split / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "zoo" / split / name / "1.png")
    for place in ("run", "subnet"):
        data = open_trained(tmp_path / place).data(str(tmp_path / "zoo"))
        with pytest.raises(TrainingError, match=r"classes are animal 1, .* \(10 in all\), the supernet's animal 0, "):
            data.setup("validate")


def test_an_exported_subnet_can_be_attacked(run, tmp_path):
    config = run / "config.yaml"
    config.write_text(yaml.safe_dump({"data": {"class_path": "Digits", "init_args": {"batch_size": 16, "raw": True}}}))
    extract(str(run), "largest", out=str(tmp_path / "sub"))
    out = tmp_path / "a.json"
    attack(str(tmp_path / "sub"), "largest", attacks="fgsm", images=8, data=str(config), sanity=False, out=str(out))
    assert out.exists()


def test_text_takes_no_folder_of_images(tmp_path):
    supernet, source = _text()
    trained = open_trained(elastic.supernet.folder.save_supernet(supernet, source, tmp_path / "run"))
    with pytest.raises(CheckpointError, match="this supernet reads text; give a YAML file"):
        trained.data(str(tmp_path))


def _text():
    from elastic.supernet.source import SupernetSource

    tiny = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    source = SupernetSource("transformers:bert", {**tiny, "intermediate_size": 64, "max_position_embeddings": 32})
    return source.build(), source


def test_nothing_there_is_said_clearly(tmp_path):
    with pytest.raises(CheckpointError, match="or a name that elastic zoo list shows"):
        open_trained(tmp_path / "nothing")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x", "tpu"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(device):
    with pytest.raises(UsageError, match=rf"--device {device}: PyTorch can't compute on that here; choose one of cpu"):
        open_trained("ofa_mbv3_fashion_mnist", device)


def test_batches_are_moved_to_where_the_supernet_is():
    supernet = mobilenet()
    images, labels = torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)
    supernet.to("meta")
    measured = MeasuredAccuracy(supernet, [(images, labels)], [images])
    assert {one.device.type for batch in measured.validation for one in batch} == {"meta"}
    assert measured.calibration[0].device.type == "meta"
