"""Places to write to, checked before the work."""

import os

import pytest

from elastic.errors import UsageError
from elastic.support.outputs import check_outputs, check_replaced


def test_what_can_be_written_passes_and_nothing_is_made(tmp_path):
    (tmp_path / "there.json").write_text("")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    files = {"--out": str(tmp_path / "there.json"), "--csv": str(tmp_path / "new" / "deep" / "t.csv"), "--report": None}
    check_outputs(files, {"--extract": str(tmp_path / "folder"), "--more": str(tmp_path / "other" / "one")})
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("files", "folders", "message"),
    [
        ({"--out": "folder"}, {}, r"--out folder is a folder, wanted a file to write, such as folder/FILE"),
        ({"--out": ""}, {}, r"--out is empty"),
        ({}, {"--out": " "}, r"--out is empty"),
        ({}, {"--out": "file"}, r"--out file is a file, wanted a folder to write into"),
        ({"--out": "file/a/b.json"}, {}, r"--out file/a/b.json: .*/file is a file, so nothing can be written below it"),
        ({}, {"--out": "file/a"}, r"--out file/a: .*/file is a file, so nothing can be written below it"),
        ({"--out": "a.json", "--csv": "./a.json"}, {}, r"--out and --csv both name ./a.json; give each a file of its"),
    ],
)
def test_what_cannot_be_written_is_refused(files, folders, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=message):
        check_outputs(files, folders)


def test_a_parent_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: False)  # whoever runs tests as root may write anywhere
    for files, folders in (({"--out": str(tmp_path / "a.json")}, {}), ({}, {"--out": str(tmp_path / "new" / "a")})):
        with pytest.raises(UsageError, match=f"{tmp_path} may not be written to; name another place, or change its"):
            check_outputs(files, folders)


def test_results_of_an_earlier_call_are_replaced(tmp_path):
    (tmp_path / "a.json").write_text('{\n "kind": "elastic search result"}')
    (tmp_path / "empty").write_text("")
    (tmp_path / "subnet").mkdir()
    (tmp_path / "subnet/config.json").write_text('{"architecture": "x", "kind": "elastic subnet"}')
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/.git").mkdir()
    kind = r'\s*{\s*"kind": "elastic search result"'
    files = {
        "--out": (str(tmp_path / "a.json"), kind),
        "--csv": (str(tmp_path / "empty"), kind),
        "--report": (None, kind),
    }
    folders = {name: (str(tmp_path / name), "subnet") for name in ("subnet", "repository", "missing")}
    check_replaced(files, folders)
    with pytest.raises(UsageError, match=r"holds config\.json, wanted nothing; name another place, or add --overwrite"):
        check_replaced({}, {"--out": (str(tmp_path / "subnet"), "new")})
    check_replaced({}, {"--out": (str(tmp_path / "subnet"), "any")})
