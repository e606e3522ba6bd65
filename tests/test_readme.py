"""README.md is executed, block by block and in its order, as a reader would who pastes it all.

Fences marked ``bash`` run command by command, fences marked ``python`` in one shared namespace, all of them
in one directory that has `trainers`, `photos`, and nothing else. A fence straight below the line ``<!-- not run -->``
is left out.
"""

import itertools
import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from forked import run_elastic
from PIL import Image

README = Path(__file__).parents[1] / "README.md"

FENCE = re.compile(
    r"^(?P<skip><!-- not run -->\n)?```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHELL = re.compile(r"[|&;<>()$*`#]")  # what only a shell understands
SET_UP = ("git clone ", "make ", "cd ")  # what the one who runs the tests has done


class Block(NamedTuple):
    """One fence: its language, its code and the line of the document that the code starts on."""

    language: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    """The fences of a Markdown document that are to be run, in order."""
    return [
        Block(m["language"], m["code"], 1 + text.count("\n", 0, m.start("code")))
        for m in FENCE.finditer(text)
        if not m["skip"]
    ]


def commands(code: str) -> list[str]:
    """The commands of a bash block: continued lines joined; comments, blanks and set-up left out."""
    lines = (line.strip() for line in code.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith(("#", *SET_UP))]


def run_bash(block: Block, directory: Path) -> None:
    """Runs each command on its own."""
    for command in commands(block.code):
        status, printed = run_command(command, directory)
        if status:
            pytest.fail(
                f"{README.name}, block at line {block.line}: exit status {status} from\n    {command}\n{printed}",
                pytrace=False,
            )


def run_command(command: str, directory: Path) -> tuple[int, str]:
    """A command's exit status, and what it printed; bash runs it, but for `elastic` alone."""
    if command.startswith("elastic ") and not SHELL.search(command):
        return run_elastic(shlex.split(command)[1:], directory)
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])  # the environment's programs first
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=directory,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def take_photos(folder: Path) -> None:
    """The reader's own images: noise, of three classes."""
    rng = np.random.default_rng(0)
    for split, photo in itertools.product(("train", "validation"), range(24)):
        path = folder / split / f"class_{photo % 3}" / f"{photo}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (240, 260, 3), dtype=np.uint8)).save(path)


def test_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trainers").symlink_to(README.parent / "trainers")  # the YAML files, as in a clone
    take_photos(tmp_path / "photos")
    namespace = {"__name__": "__main__"}
    for block in blocks(README.read_text("utf-8")) if README.exists() else ():
        if block.language == "bash":
            run_bash(block, tmp_path)
        else:  # empty lines before the code, so that a traceback points into the README itself
            exec(compile("\n" * (block.line - 1) + block.code, README, "exec"), namespace)


SAMPLE = """\
```bash
make demo
elastic inspect \\
    resnet18
# a comment
elastic zoo
```
<!-- not run -->
```bash
rm -rf /
```
```text
elastic zoo
```
```python
import elastic
```
"""


def test_blocks_are_found_in_order() -> None:
    first, second = blocks(SAMPLE)
    assert (first.language, first.line) == ("bash", 2)
    assert second == ("python", "import elastic\n", 16)


def test_commands_join_lines_and_leave_set_up_out() -> None:
    assert [c.split() for c in commands(blocks(SAMPLE)[0].code)] == [
        ["elastic", "inspect", "resnet18"],
        ["elastic", "zoo"],
    ]


def test_failure_names_the_command_and_its_output(tmp_path: Path) -> None:
    block = Block("bash", "true\necho out of luck; exit 3\n", 7)
    with pytest.raises(pytest.fail.Exception, match=r"line 7: exit status 3 from\n.*exit 3\nout of luck"):
        run_bash(block, tmp_path)
