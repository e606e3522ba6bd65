"""Publishing: a folder goes up whole, or what is wrong is said; nothing here leaves this machine."""

import subprocess
import sys

import pytest
import torch
from small import vit

import elastic
from elastic.errors import CheckpointError, ExportError
from elastic.support.files import sha256

PAGE = "https://huggingface.co/someone/small"


class Hub:
    """In the place of HfApi: notes what is asked of it."""

    def __init__(self):
        self.asked = {}

    def create_repo(self, repo, **options):
        self.asked["create_repo"] = {"repo": repo, **options}
        return PAGE

    def upload_folder(self, **options):
        self.asked["upload_folder"] = options


@pytest.fixture
def folder(tmp_path):
    supernet = vit()
    arch = supernet.space.smallest
    elastic.export(supernet.extract(arch), tmp_path, example=torch.zeros(2, *supernet.input_shape(arch)))
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    made = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: made)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "a token")
    return made


def test_the_folder_goes_up(folder, hub):
    assert elastic.push(folder, "someone/small", private=True) == PAGE
    assert hub.asked["create_repo"] == {
        "repo": "someone/small", "repo_type": "model", "private": True, "exist_ok": True,
    }  # fmt: skip
    assert hub.asked["upload_folder"]["folder_path"] == folder
    assert hub.asked["upload_folder"]["repo_id"] == "someone/small"
    card = (folder / "README.md").read_text()
    assert card.startswith("---\ntags:\n- elastic-supernets\npipeline_tag: image-classification\n---\n")


@pytest.mark.parametrize("repo", ["small", "a/b/c", "some one/small", "/small"])
def test_a_name_that_is_none_is_refused(folder, hub, repo):
    with pytest.raises(ExportError, match="is no repository's name; write it as OWNER/NAME"):
        elastic.push(folder, repo)
    assert not hub.asked


def test_without_a_token_nothing_is_tried(folder, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(ExportError, match=r"the hub needs a token that may write; get one at .*set HF_TOKEN"):
        elastic.push(folder, "someone/small")
    assert not hub.asked


def test_without_a_network_it_is_said(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "a token")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(ExportError, match=r"couldn't be pushed to someone/small: .*Check the network"):
        elastic.push(folder, "someone/small")


def test_only_a_whole_export_is_pushed(folder, hub, tmp_path):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ExportError, match="isn't the file that was exported"):
        elastic.push(folder, "someone/small")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="elastic extract writes one"):
        elastic.push(tmp_path / "empty", "someone/small")
    assert not hub.asked


def test_each_file_is_read_once(folder, hub, monkeypatch):
    read = []
    monkeypatch.setattr("elastic.shipping.pushing.sha256", lambda path: read.append(path) or sha256(path))
    elastic.push(folder, "someone/small")
    assert read == [folder / "model.safetensors"]


def test_the_hub_s_client_is_imported_by_those_who_push_only():
    program = "import sys, elastic; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program]).returncode == 0
