"""What is being done is said on a terminal only, and is gone afterwards."""

import pytest

from elastic.support.progress import waiting


@pytest.mark.parametrize("terminal", [True, False])
def test_a_wait_is_explained_on_a_terminal(terminal, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    with waiting("loading PyTorch"):
        pass
    shown = capsys.readouterr()
    assert ("loading PyTorch …" in shown.err) == terminal
    assert not shown.out
