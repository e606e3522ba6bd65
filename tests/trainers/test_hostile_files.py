"""Files of every kind, broken or hostile: read, or refused in a sentence; no code runs, and no file is harmed."""

import gc

import pytest
from hostile_files import Found, kinds_of, make_base, read_mutants

KINDS = (
    "a run", "weights", "a run's configuration", "a configuration of fit", "a checkpoint", "an exported subnet",
    "its weights", "a profile", "a result", "a cache", "a kit's measurements", "a latency table", "an arch",
    "a specialised network", "a TSV file", "an image",
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    return folder, kinds_of(make_base(folder))


def test_every_kind_is_tried(base):
    assert set(base[1]) == set(KINDS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_mutants_are_read_or_refused(name, base, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder, kinds = base
    found = Found()
    read_mutants(folder, tmp_path, name, kinds[name], 12, seed=1, found=found)
    if name == "an image":
        gc.collect()  # those that couldn't be read are still open
    assert found.mutants == 12
    assert not found.wrong, "\n".join(found.wrong)


@pytest.mark.filterwarnings("ignore")
def test_what_mutants_are_made_of_is_read(base, monkeypatch):
    folder, kinds = base
    monkeypatch.chdir(folder)
    for name in KINDS:
        if name != "a latency table":
            kinds[name].read(folder)
    gc.collect()
