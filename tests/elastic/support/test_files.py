"""Files that belong together are written all or none, whatever fails and whenever the process is killed."""

import errno
import os
import shutil
import time
from pathlib import Path

import pytest
from disk import Killed, contents, full_disk, renames_that_end

from elastic.errors import CheckpointError
from elastic.support.files import read_json, remove_with, staged, write_json, write_text


def test_ctrl_c_leaves_the_former_file_whole(tmp_path):
    path = write_text(tmp_path / "a.txt", "before")

    def interrupted():
        with staged(tmp_path) as stage:
            (stage / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


# --- several files at once ----------------------------------------------------------------------------------


def replace_all(folder):
    """Two files are replaced, one is new, and one goes."""
    with staged(folder) as stage:
        (stage / "weights").write_text("new")
        (stage / "more").write_text("new")
        (stage / "about.json").write_text('{"version": "new"}')
        remove_with(stage, "extra")


@pytest.fixture
def several(tmp_path):
    for name, text in (("weights", "old"), ("extra", "old"), ("about.json", '{"version": "old"}'), ("mine", "mine")):
        (tmp_path / name).write_text(text)
    return tmp_path


OLD = {"weights": b"old", "extra": b"old", "about.json": b'{"version": "old"}', "mine": b"mine"}
NEW = {"weights": b"new", "more": b"new", "about.json": b'{"version": "new"}', "mine": b"mine"}


def test_files_move_in_together_and_their_description_last(several, monkeypatch):
    renames = renames_that_end(monkeypatch, several, 100, None)
    replace_all(several)
    assert contents(several) == NEW
    assert [path.name for path in renames[1:-1]] == ["more", "weights", "about.json"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "held open"), KeyboardInterrupt()])
def test_a_move_that_fails_leaves_all_as_it_was(several, monkeypatch, error, after, links):
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", full_disk)
    renames_that_end(monkeypatch, several, after, error)
    with pytest.raises(type(error)):
        replace_all(several)
    assert contents(several) == OLD


@pytest.mark.parametrize("after", range(5))
def test_a_process_killed_between_two_moves_loses_nothing(several, monkeypatch, after):
    with monkeypatch.context() as dead:
        renames_that_end(dead, several, after, Killed(), forever=True)
        dead.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            replace_all(several)
    assert read_json(several / "about.json", CheckpointError, "a description")["version"] == ("new" if after else "old")
    for stage in several.glob(".staged-*"):  # they are swept once they are old
        shutil.rmtree(stage)
    assert contents(several) == (NEW if after else OLD)


def test_what_killed_processes_staged_is_swept_once_it_is_old(tmp_path):
    for name, hours in ((".staged-old_old_", 25), (".staged-young___", 1), (".staged-mine", 25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("half")
        os.utime(tmp_path / name, times=(time.time() - hours * 3600,) * 2)
    write_text(tmp_path / "a.txt", "a")
    assert {path.name for path in tmp_path.iterdir()} == {".staged-young___", ".staged-mine", "a.txt"}


def test_other_files_stay_and_modes_are_ordinary(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    path = write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert path.stat().st_mode & 0o777 == (tmp_path / "mine.txt").stat().st_mode & 0o777
