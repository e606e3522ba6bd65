"""Downloads against a server in the test: whole, broken off, wrong, and without a network."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from elastic.errors import CheckpointError
from zoo.download import cache_folder, download

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; `/broken` breaks off, and `/mute` does without having said how many bytes there are."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/mute":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[:200_000])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ELASTIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache):
    return {path.name for path in cache.iterdir()} - {"net.lock"}


def test_a_file_is_downloaded_once(server, cache):
    for _ in range(2):
        path = download(f"{server.url}/whole", "net", DIGEST, len(CONTENT))
        assert path == cache / "net"
        assert path.read_bytes() == CONTENT
    assert server.asked == ["/whole"]
    assert files(cache) == {"net"}


@pytest.mark.parametrize("path", ["/broken", "/mute"])
@pytest.mark.parametrize("digest", [DIGEST, None])
def test_what_broke_off_is_deleted_and_downloaded_again(server, cache, path, digest):
    with pytest.raises(CheckpointError, match=r"it has 200000 bytes, wanted 512000\. It was deleted; download it"):
        download(server.url + path, "net", digest, len(CONTENT))
    assert files(cache) == set()
    assert download(f"{server.url}/whole", "net", DIGEST, len(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("digest", "size", "message"),
    [("0" * 64, None, f"its SHA-256 is {DIGEST}, wanted 0000"), (None, 5, "it has 512000 bytes, wanted 5")],
)
def test_another_file_than_wanted_is_deleted(server, cache, digest, size, message):
    with pytest.raises(CheckpointError, match=message):
        download(f"{server.url}/whole", "net", digest, size)
    assert files(cache) == set()


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, cache):
    path = download(f"{server.url}/whole", "net", DIGEST)
    path.write_bytes(CONTENT[:-1])
    assert download(f"{server.url}/whole", "net", DIGEST).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_file_without_a_digest_is_kept_only_if_it_can_be_read(server, cache, tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    torch.save({"state_dict": {"weight": torch.arange(1000.0)}}, whole)
    half.write_bytes(whole.read_bytes()[:2000])
    for url in (half.as_uri(), f"{server.url}/mute"):
        with pytest.raises(CheckpointError, match=r"no PyTorch file with a state_dict.*deleted; download it again"):
            download(url, "net")
        assert files(cache) == set()
    path = download(whole.as_uri(), "net")
    path.write_bytes(half.read_bytes())
    assert download(whole.as_uri(), "net").read_bytes() == whole.read_bytes()


def test_without_a_network_the_cache_is_enough_and_without_both_the_cure_is_said(server, cache):
    download(f"{server.url}/whole", "net", DIGEST)
    assert download("http://127.0.0.1:1/whole", "net", DIGEST).read_bytes() == CONTENT
    with pytest.raises(
        CheckpointError, match=r"refused\. Without a network, get the file elsewhere and put it at .*other"
    ):
        download("http://127.0.0.1:1/whole", "other")
    with pytest.raises(CheckpointError, match="the server says 404"):
        download(f"{server.url}/missing", "other")
    assert not (cache / "other").exists()


def test_a_file_of_this_machine_is_taken_too(tmp_path, cache):
    (tmp_path / "here").write_bytes(CONTENT)
    assert download((tmp_path / "here").as_uri(), "net", DIGEST).read_bytes() == CONTENT


def test_the_cache_is_in_pytorchs_unless_said(monkeypatch, tmp_path):
    monkeypatch.delenv("ELASTIC_CACHE", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "elastic"
