"""A folder of another kind is answered with what it is, and what to do."""

import json

import pytest

from elastic.errors import CheckpointError
from elastic.shipping.loading import load_subnet
from elastic.supernet.folder import load_supernet


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A run of the images in `photos`, an exported subnet, and images that nothing was trained on."""
    monkeypatch.chdir(tmp_path)
    for place in ("runs/photos/supernet.json", "photos/train/cats/1.JPG", "other/cats/1.png", "empty/note.txt"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    for name, kind in (("subnet", "elastic subnet"), ("foreign", "bert")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"kind": kind}))


@pytest.mark.parametrize(
    ("load", "place", "said"),
    [
        (load_subnet, "runs/photos", "runs/photos is a trained supernet; cut a subnet out first: elastic extract runs"),
        (load_supernet, "subnet", r'subnet is an exported subnet, not a supernet; elastic.load_subnet\("subnet"\)'),
        (load_supernet, "photos", r"photos holds images; did you mean runs/photos\?"),
        (load_subnet, "photos", r"photos holds images; did you mean runs/photos\?"),
        (load_supernet, "other", "other holds images; train on them: elastic fit other"),
        (load_supernet, "empty", "supernet.json doesn't exist; wanted a supernet's description"),
        (load_supernet, "foreign", "supernet.json doesn't exist"),
        (load_supernet, "", "the name of a folder is empty; wanted a supernet's description"),
        (load_subnet, "", "the name of a folder is empty; wanted an exported subnet"),
    ],
)
def test_a_folder_of_another_kind_is_diagnosed(load, place, said, room):
    with pytest.raises(CheckpointError, match=said):
        load(place)
