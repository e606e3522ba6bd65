"""`elastic zoo`, and the commands that take what it writes."""

import json

import pytest
import reference
import torch
from examples import mostly_swept
from published import drawn, error, images, imported, older, publish, write

import elastic
import zoo
from elastic.supernet.folder import load_supernet
from trainers.cli.main import main

NAME = reference.NAMES[0]


def shown(capsys, *words):
    capsys.readouterr()
    status = main(["zoo", *words])
    said = capsys.readouterr()
    assert status == 0, said.err
    return said.out


def test_list_and_info_show_every_entry(capsys):
    listed = shown(capsys, "list")
    for name in zoo.list():
        assert f" {name} " in listed
        told = " ".join(shown(capsys, "info", name).split())
        assert all(part in told for part in ("license", "paper", "pretrained", name))


def test_an_encoding_is_converted_both_ways(capsys, tmp_path):
    published = {"d": [2, 3, 4], "ks": [7, 7, 3, 3, 5, 5, 5, 3, 3, 3, 3, 3], "e": [6, 6, 3, 3, 4, 4, 4, 3, 3, 3, 3, 3]}
    arch = shown(capsys, "convert", "ofa_mbv3_fashion_mnist", json.dumps(published | {"r": 24}))
    assert json.loads(arch)["mid.1.0"] == 96
    shown(capsys, "convert", "ofa_mbv3_fashion_mnist", arch, "--out", str(tmp_path / "published.json"))
    assert json.loads((tmp_path / "published.json").read_text()) == published | {"r": 24}
    assert shown(capsys, "convert", "ofa_mbv3_fashion_mnist", str(tmp_path / "published.json")) == arch


def test_dynaberts_encoding_is_converted_too(capsys):
    pytest.importorskip("transformers")
    published = {"width": 0.5, "depth": 0.5}
    arch = shown(capsys, "convert", "dynabert_sst2", json.dumps(published))
    assert json.loads(arch)["heads.0"] == 2
    assert json.loads(shown(capsys, "convert", "dynabert_sst2", arch)) == published


def test_a_published_supernet_becomes_a_folder_to_extract_from(capsys, tmp_path):
    file = write(tmp_path / "published", drawn(NAME))
    out = str(tmp_path / "net")
    assert "elastic extract" in shown(
        capsys, "import", NAME, "--path", str(file), "--out", out, "--resolutions", "[128]"
    )
    supernet = load_supernet(out)
    assert supernet.space["resolution"].choices[0] == 128
    wanted = imported(NAME).model.state_dict()
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in supernet.model.state_dict().items())


@pytest.mark.parametrize("name", mostly_swept([*reference.MOBILE[::2], reference.RESNET], [reference.MOBILE[0]]))
@torch.no_grad()
def test_a_specialised_network_becomes_a_folder_to_export(capsys, tmp_path, name):
    supernet = imported(name)
    arch = supernet.space.sample(3)
    encoded = zoo.from_arch(supernet, arch)
    config, state = reference.config_of(name, encoded), reference.specialise(name, drawn(name), encoded)
    folder = publish(tmp_path / "net@132", older(config) if name in reference.MOBILE else config, state, side=132)
    out = tmp_path / "subnet"
    shown(capsys, "import", name, "--path", str(folder), "--out", str(out))
    subnet, about = elastic.load_subnet(out)
    assert about["input_size"] == [3, 132, 132]
    same = {key: value for key, value in arch.items() if key not in ("resolution", "ratio.stem")}
    assert same.items() <= about["arch"].items()
    x = images(132)
    assert error(subnet(x), reference.Network(config, state)(x)) < 1e-5
    other = reference.NAMES[1]
    assert main(["zoo", "import", other, "--path", str(folder), "--out", str(tmp_path / "other")]) == 2
    assert f"net@132 isn't a subnet of {other}" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "ofa"], "the zoo has no supernet 'ofa'; did you mean ofa_"),
        (["convert", "ofa_resnet50", '{"ks'], "isn't an encoding"),
        (["convert", "ofa_resnet50", '{"depth.0": 2}'], "the arch lacks"),
        (["convert", "ofa_resnet50", '{"deep": 2}'], "'deep' isn't part of this supernet's encoding; it has d, e, w"),
        (["convert", "ofa_resnet50", "nothing.json"], "nothing.json doesn't exist; wanted an encoding"),
        (["import", "ofa_resnet50", "--path", "nothing"], "nothing doesn't exist; wanted one of Once-for-All's"),
        ([], "elastic zoo needs a command: list, info, import, convert"),
    ],
)
def test_mistakes_end_in_one_sentence(capsys, words, message):
    assert main(["zoo", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
