"""README.md and the pages of docs/ are executed, as a reader would who pastes one page, or one section of README.

Fences marked ``bash`` run command by command, fences marked ``python`` in one namespace for each page; a fence marked
``text`` straight below a ``python`` one is its output. Each page runs in a folder of its own. If the page mentions
`photos` or one of the files that README's section on the command line makes (`MADE`), it finds them there. A fence
straight below the line ``<!-- not run -->`` is left out.
"""

import ast
import contextlib
import io
import itertools
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from examples import mostly_swept
from filelock import FileLock
from forked import run_elastic
from PIL import Image

ROOT = Path(__file__).parents[1]
JOB = "The whole job on the command line"
MADE = ("runs/digits", "profile.json", "search.json", "subnet")
WAY = "elastic fit --config digits "  # the page makes them itself

LIGHT = ("own_model.md", "runtime.md")  # of docs/howto; the others train or measure: `make pages` runs them

FENCE = re.compile(
    r"^(?P<skip><!-- not run -->\n)?```(?P<language>bash|python)\n(?P<code>.*?)^```$"
    r"(?:\n```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
SHELL = re.compile(r"[|&;<>()$*`#]")  # needs a shell
SHORTER = {  # other tests may keep this machine busy, and what is asked for is that the commands go together
    re.compile(r"latency_ms[\w.]*=[\d.]+(ms)?"): "macs=3e6",
    re.compile(r"--time_limit [\d.]+"): "--time_limit 0.5",
    re.compile(r"(?<=curriculum\.scale 0\.)"): "0",
    re.compile(r"^elastic search (?=.*--profile )"): "elastic search --again_seconds 0.5 ",
}
"""What stands in the place of budgets of latency, and of how long is trained and measured."""

COMMENT = re.compile(r"\s+# .*$")  # behind a command
SET_UP = ("git clone ", "make ", "cd ")  # done by whoever runs the tests


class Block(NamedTuple):
    """One fence: its language, its code, the line of the page that the code starts on, and its expected output."""

    language: str
    code: str
    line: int
    printed: str | None = None


class Page(NamedTuple):
    """What runs together: a page of the documentation, or a section of README."""

    name: str
    path: Path
    text: str
    offset: int = 0

    def blocks(self) -> list[Block]:
        """The fences that are to be run, in order."""
        return [
            Block(m["language"], m["code"], 1 + self.offset + self.text.count("\n", 0, m.start("code")), m["printed"])
            for m in FENCE.finditer(self.text)
            if not m["skip"]
        ]


def sections(path: Path) -> list[Page]:
    """A document by its headings of the second level."""
    text = path.read_text("utf-8")
    starts = [0, *(m.start() for m in re.finditer(r"^## ", text, re.MULTILINE)), len(text)]
    parts = [(start, text[start:end]) for start, end in itertools.pairwise(starts)]
    return [Page(part.partition("\n")[0].lstrip("# "), path, part, text.count("\n", 0, start)) for start, part in parts]


def documents() -> list[Page]:
    """All pages that have something to run."""
    found = [path for path in sorted((ROOT / "docs").rglob("*.md")) if not {"_build", "generated"} & set(path.parts)]
    pages = [Page(path.relative_to(ROOT).as_posix(), path, path.read_text("utf-8")) for path in found]
    return [page for page in [*sections(ROOT / "README.md"), *pages] if page.blocks()]


PAGES = documents()


def commands(code: str) -> list[str]:
    """The commands of a bash block: continued lines joined; comments, blanks and set-up left out."""
    lines = (COMMENT.sub("", line.strip()) for line in code.replace("\\\n", " ").splitlines())
    return [shorter(line) for line in lines if line and not line.startswith(("#", *SET_UP))]


def shorter(command: str) -> str:
    """The command with a budget of MACs in the place of latency; it trains and measures for a fraction of the time."""
    for words, others in SHORTER.items():
        command = words.sub(others, command)
    return command


def run_command(command: str, directory: Path) -> tuple[int, str]:
    """A command's exit status, and its output; bash runs it, except for `elastic` alone, or into a file."""
    alone, _, into = command.partition(" > ")
    if command.startswith("elastic ") and not SHELL.search(alone + into):
        status, printed = run_elastic(shlex.split(alone)[1:], directory)
        if into:
            (directory / into).write_text(printed, "utf-8")
        return status, printed
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


def run_bash(page: Page, block: Block, directory: Path) -> None:
    """Run each command on its own."""
    for command in commands(block.code):
        status, printed = run_command(command, directory)
        if status:
            where = f"{page.path.name}, block at line {block.line}"
            pytest.fail(f"{where}: exit status {status} from\n    {command}\n{printed}", pytrace=False)


def run_python(page: Page, block: Block, namespace: dict[str, Any]) -> None:
    """Run a block; empty lines before the code make a traceback point into the page itself."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile("\n" * (block.line - 1) + block.code, page.path, "exec"), namespace)
    if block.printed is not None:
        assert output.getvalue() == block.printed, f"{page.path.name}, block at line {block.line}"


def run_page(page: Page, directory: Path) -> None:
    """Run all blocks of a page in a directory, which must be the current one."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in page.blocks():
        if block.language == "bash":
            run_bash(page, block, directory)
        else:
            run_python(page, block, namespace)


def take_photos(folder: Path) -> None:
    """The reader's own images: noise, of three classes."""
    rng = np.random.default_rng(0)
    for split, photo in itertools.product(("train", "validation"), range(24)):
        path = folder / split / f"class_{photo % 3}" / f"{photo}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (240, 260, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which README's section on the command line was run; all processes share it."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "job"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            run_page(next(page for page in PAGES if page.name == JOB), folder)
            (folder / "done").touch()
    return folder


def mentions(block: Block, name: str) -> bool:
    """Whether a block reads the file or folder of this name: as a word of a command, or a string of Python."""
    if block.language == "python":
        return re.search(rf"""["']{re.escape(name)}["'/]""", block.code) is not None
    return name in (word for command in commands(block.code) for word in re.split(r"[\s=]+", command))


def prepare(page: Page, directory: Path, request: pytest.FixtureRequest) -> None:
    """Put into a page's folder what it mentions and doesn't make."""
    (directory / "trainers").symlink_to(ROOT / "trainers")  # the YAML files, as in a clone
    if "photos" in page.text:
        take_photos(directory / "photos")
    makes_them = any(WAY in block.code for block in page.blocks())
    for name in () if makes_them else MADE:
        if any(mentions(block, name) for block in page.blocks()):
            made = request.getfixturevalue("job") / name
            target = directory / name
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(made, target) if made.is_dir() else shutil.copy(made, target)


RUN_EACH_TIME = [page for page in PAGES if not page.name.startswith("docs/howto/") or page.name.endswith(LIGHT)]


@pytest.mark.parametrize("page", mostly_swept(PAGES, RUN_EACH_TIME), ids=lambda page: page.name.replace(" ", "-"))
def test_page_runs(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if page.name == JOB:
        request.getfixturevalue("job")
        return
    monkeypatch.chdir(tmp_path)
    prepare(page, tmp_path, request)
    run_page(page, tmp_path)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 250


def test_readme_s_links_into_the_repository_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text("utf-8"))
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def first_line(file: Path) -> str:
    """The first line of a module's docstring."""
    return str(ast.get_docstring(ast.parse(file.read_text("utf-8")))).split("\n")[0]


def test_contributing_has_the_sentence_of_each_folder() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", text, re.MULTILINE))
    files = [file for package in ("elastic", "zoo", "trainers") for file in (ROOT / package).rglob("__init__.py")]
    said = {file.parent.relative_to(ROOT).as_posix(): first_line(file) for file in files}
    assert listed == said


NAME = r"`((?:elastic|trainers|zoo)(?:\.\w+)+)`"


def new_places(changelog: str) -> list[str]:
    """Where the tables of CHANGELOG say that modules, classes and functions are now: dotted names."""
    places = []
    for first, second in re.findall(r"^\| (.*) \| (.*) \|$", changelog, re.MULTILINE):
        if re.fullmatch(r"`[\w.]+`", first) and re.match("from `|`[\\w.]+` →", second):  # modules of this folder
            places += [f"{first.strip('`')}.{name}" for name in re.findall(r"(?<!from )`(\w+)`", second)]
        else:
            places += re.findall(NAME, second)
    return places


def test_places_are_found_in_both_of_changelog_s_tables() -> None:
    modules = "| `trainers.jobs` | from `trainers`: `trained`, `goals`; `trainers.results` → `search`, `report` |"
    names = "| `elastic.Card`, `figures` | `elastic.ModelCard`, its `metrics` |"
    expected = ["trainers.jobs.trained", "trainers.jobs.goals", "trainers.jobs.search", "trainers.jobs.report"]
    assert new_places(f"{modules}\n{names}\n") == [*expected, "elastic.ModelCard"]


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_what_the_documentation_includes_links_to_no_file(name):
    """It stands elsewhere in the repository than in the documentation, where `make docs` would refuse the link."""
    links = re.findall(r"\]\(([^)#][^)]*)\)", (ROOT / name).read_text("utf-8"))
    assert [link for link in links if "://" not in link] == []


def test_changelog_sends_people_to_places_that_exist() -> None:
    places = new_places((ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert len(places) > 150
    for place in places:
        assert pkgutil.resolve_name(place)


def test_drawings_are_what_the_script_draws() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "drawings.py"))["DRAWINGS"]
    for name, draw in drawn.items():
        assert (ROOT / "docs" / "_static" / f"{name}.svg").read_text("utf-8") == draw(), f"run docs/drawings.py: {name}"


SAMPLE = """\
# Title

## First
```bash
make demo
elastic inspect \\
    resnet18
# a comment
elastic zoo    # another one
```
<!-- not run -->
```bash
rm -rf /
```
## Second
```text
elastic zoo
```
```python
print(1)
```
```text
1
```
"""


@pytest.fixture
def sample(tmp_path: Path) -> list[Page]:
    (tmp_path / "sample.md").write_text(SAMPLE)
    return sections(tmp_path / "sample.md")


def test_blocks_are_found_in_order(sample: list[Page]) -> None:
    assert [page.name for page in sample] == ["Title", "First", "Second"]
    title, first, second = (page.blocks() for page in sample)
    assert not title
    assert [(block.language, block.line) for block in first] == [("bash", 5)]
    assert second == [("python", "print(1)\n", 20, "1\n")]


def test_commands_join_lines_and_leave_set_up_out(sample: list[Page]) -> None:
    assert [c.split() for c in commands(sample[1].blocks()[0].code)] == [
        ["elastic", "inspect", "resnet18"],
        ["elastic", "zoo"],
    ]


def test_budgets_do_not_depend_on_how_busy_the_machine_is() -> None:
    assert commands("search --budget latency_ms.phone=1.5,params=2") == ["search --budget macs=3e6,params=2"]


def test_commands_train_and_measure_for_a_fraction_of_the_time() -> None:
    assert commands("elastic fit --model.curriculum.scale 0.1") == ["elastic fit --model.curriculum.scale 0.01"]
    assert commands("elastic profile a --time_limit 20") == ["elastic profile a --time_limit 0.5"]
    assert commands("elastic search a --profile b") == ["elastic search --again_seconds 0.5 a --profile b"]


def test_failure_names_the_command_and_its_output(sample: list[Page], tmp_path: Path) -> None:
    block = Block("bash", "true\necho out of luck; exit 3\n", 7)
    with pytest.raises(pytest.fail.Exception, match=r"line 7: exit status 3 from\n.*exit 3\nout of luck"):
        run_bash(sample[1], block, tmp_path)


def test_other_output_than_shown_is_a_failure(sample: list[Page]) -> None:
    with pytest.raises(AssertionError, match="line 20"):
        run_python(sample[2], Block("python", "print(2)\n", 20, "1\n"), {})
