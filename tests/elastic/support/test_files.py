"""Whatever fails and whenever a process is killed, files that belong together are whole, or refused."""

import errno
import os
import shutil
import time
from contextlib import suppress

import pytest
from disk import Killed, contents, renames_that_end

from elastic.errors import CheckpointError
from elastic.support.files import check_file, sha256, staged, write_json, write_text
from elastic.support.reading import read_json


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


def save_both(folder, version):
    with staged(folder) as stage:
        (stage / "weights").write_text(version)
        (stage / "more").write_text(version)
        write_json(stage / "about.json", {"version": version, "sha256": sha256(stage / "weights")})


def load_both(folder):
    about = read_json(folder / "about.json", CheckpointError, "a description")
    check_file(folder / "weights", about["sha256"], CheckpointError)
    return about["version"], (folder / "weights").read_text()


@pytest.fixture
def several(tmp_path):
    (tmp_path / "mine").write_text("mine")
    save_both(tmp_path, "old")
    return tmp_path


def test_files_take_their_places_and_their_description_is_the_last(several, monkeypatch):
    renames = renames_that_end(monkeypatch, several, 100, None)
    save_both(several, "new")
    assert load_both(several) == ("new", "new")
    assert set(contents(several)) == {"mine", "weights", "more", "about.json"}
    assert [path.name for path in renames] == ["more", "weights", "about.json"]


def test_what_fails_before_the_first_file_is_replaced_changes_nothing(several, monkeypatch):
    before = contents(several)
    for error in (PermissionError(errno.EACCES, "held open"), KeyboardInterrupt()):
        with monkeypatch.context() as failing:
            renames_that_end(failing, several, 0, error)
            with pytest.raises(type(error)):
                save_both(several, "new")
        assert contents(several) == before


@pytest.mark.parametrize("after", range(4))
def test_a_process_killed_at_any_moment_leaves_a_folder_that_is_whole_or_refused(several, monkeypatch, after):
    """Reading moves nothing; and writing again mends it."""
    with monkeypatch.context() as dead, suppress(Killed):
        renames_that_end(dead, several, after, Killed(), forever=True)
        dead.setattr(shutil, "rmtree", lambda *_, **__: None)
        save_both(several, "new")
    left = contents(several, files_only=True)
    if after in (0, 1, 3):  # none is replaced, one that nothing describes, or all
        assert load_both(several) == (("new", "new") if after == 3 else ("old", "old"))
    else:
        with pytest.raises(CheckpointError, match=r"another SHA-256.*killed while it replaced both; write them again"):
            load_both(several)
    assert contents(several, files_only=True) == left
    save_both(several, "newer")
    assert load_both(several) == ("newer", "newer")


def test_what_killed_processes_staged_is_swept_once_it_is_old(tmp_path):
    for name, hours in ((".staged-old_old_", 25), (".staged-young___", 1), (".staged-mine", 25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("half")
        os.utime(tmp_path / name, times=(time.time() - hours * 3600,) * 2)
    with staged(tmp_path) as stage:
        (stage / "a.txt").write_text("a")
    assert {path.name for path in tmp_path.iterdir()} == {".staged-young___", ".staged-mine", "a.txt"}


def test_other_files_stay_and_modes_are_ordinary(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    path = write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert path.stat().st_mode & 0o777 == (tmp_path / "mine.txt").stat().st_mode & 0o777
