"""Downloads against a server in the test: whole, broken off and resumed, wrong, and without a network."""

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
    """Serves CONTENT; `/broken` sends a part at a time, `/stuck` the same part for ever, `/old` knows no ranges.

    `/mute` doesn't say how many bytes it sends, and sends a part at a time.
    """

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        begin = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.path != "/old" else 0
        if self.path == "/missing" or begin >= len(CONTENT):
            self.send_error(404 if self.path == "/missing" else 416)
            return
        ranged = self.headers.get("Range") is not None and self.path != "/old"
        self.send_response(206 if ranged else 200)
        if self.path != "/mute":
            self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        more = begin + 200_000
        stop = {"/broken": more, "/mute": more, "/stuck": min(more, 300_000)}.get(self.path)
        self.wfile.write(CONTENT[begin:stop])

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
    assert server.asked == [("/whole", None)]
    assert files(cache) == {"net"}


def test_what_breaks_off_is_resumed_where_it_broke_off(server, cache):
    assert download(f"{server.url}/broken", "net", DIGEST).read_bytes() == CONTENT
    assert server.asked == [("/broken", None), ("/broken", "bytes=200000-"), ("/broken", "bytes=400000-")]


def test_a_server_that_does_not_say_how_much_it_sends_is_asked_until_the_size_is_reached(server, cache):
    assert download(f"{server.url}/mute", "net", DIGEST, len(CONTENT)).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=200000-", "bytes=400000-"]


def test_more_than_the_size_is_thrown_away(server, cache):
    with pytest.raises(CheckpointError, match="it has 200000 bytes, wanted 1000"):
        download(f"{server.url}/mute", "net", DIGEST, 1000)
    assert files(cache) == set()


def test_a_partial_file_of_before_is_continued(server, cache):
    cache.mkdir()
    (cache / "net.part").write_bytes(CONTENT[:1000])
    assert download(f"{server.url}/whole", "net", DIGEST).read_bytes() == CONTENT
    assert server.asked == [("/whole", "bytes=1000-")]
    assert files(cache) == {"net"}


def test_a_server_without_ranges_sends_all_of_it(server, cache):
    cache.mkdir()
    (cache / "net.part").write_bytes(CONTENT[:1000])
    assert download(f"{server.url}/old", "net", DIGEST).read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_begun_anew(server, cache):
    cache.mkdir()
    (cache / "net.part").write_bytes(CONTENT + b"more")
    assert download(f"{server.url}/whole", "net", DIGEST).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [f"bytes={len(CONTENT) + 4}-", None]


def test_no_progress_is_an_error_that_keeps_what_is_there(server, cache):
    with pytest.raises(CheckpointError, match=r"broke off; the 300000 bytes that are there are kept, and the next"):
        download(f"{server.url}/stuck", "net", DIGEST)
    assert files(cache) == {"net.part"}
    assert download(f"{server.url}/whole", "net", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("digest", "size", "message"),
    [("0" * 64, None, f"its SHA-256 is {DIGEST}, wanted 0000"), (None, 5, "it has 512000 bytes, wanted 5")],
)
def test_another_file_than_wanted_is_thrown_away(server, cache, digest, size, message):
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
        with pytest.raises(CheckpointError, match=r"no PyTorch file with a state_dict.*thrown away; download it again"):
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
