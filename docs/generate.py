"""The pages that follow from the code: commands' help, all options of a training, shipped configurations, the API."""

import contextlib
import inspect
import io
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

FIRST = ("elastic.supernet", "elastic.space", "elastic.layout")  # what most readers look for
PACKAGES = {"elastic": "The library", "zoo": "Named supernets", "trainers": "Training"}


def write(folder: Path) -> None:
    """Write all generated pages into a folder; files that would stay the same keep their time."""
    pages = {"commands.md": commands(), "options.md": options(), "configurations.md": configurations()}
    pages |= {f"api_{name}.rst": api(import_module(name), title) for name, title in PACKAGES.items()}
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def printed(*words: str) -> str:
    """The standard output of `elastic WORDS`."""
    from trainers.cli.main import main

    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        main(words)
    return output.getvalue()


def commands() -> str:
    """The help of each command."""
    from trainers.cli.commands import COMMANDS

    sections = [f"```text\n{printed('--help')}```\n"]
    for name, command in COMMANDS.items():
        if name in ("validate", "test"):
            sections.append(f"## elastic {name}\n\nThe options are those of `elastic fit`.\n")
            continue
        text = printed(*name.split(), "--help" if command.own_parser else "--help_all")
        sections.append(f"## elastic {name}\n\n```text\n{text}```\n")
    return "\n".join(sections)


def options() -> str:
    """Every option of `elastic fit` with its value, for one shipped configuration."""
    return f"```yaml\n{printed('fit', '--config', 'digits_mobilenetv3', '--config', 'sandwich', '--print_config')}```\n"


def configurations() -> str:
    """The shipped YAML files, by name, with the first sentence of their comments."""
    from trainers.configurations import shipped_configurations

    rows = [f"| `{name}` | {first_sentence(path)} |" for name, path in shipped_configurations().items()]
    return "\n".join(["| `--config` | content |", "|---|---|", *rows, ""])


def first_sentence(path: Path) -> str:
    """The first sentence of a YAML file's leading comment."""
    lines = path.read_text("utf-8").splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return re.split(r"\.(?= [A-Z`])|:? elastic fit", comment)[0].rstrip(".")


def api(package: ModuleType, title: str) -> str:
    """A page for a package: its public names, by the folder that they are defined in."""
    homes: dict[str, list[str]] = {}
    for name in sorted(package.__all__, key=str.lower):
        home = getattr(package, name).__module__
        parts = home.split(".")
        folder = ".".join(parts[:2]) if hasattr(import_module(".".join(parts[:2])), "__path__") else parts[0]
        homes.setdefault(folder, []).append(name)
    lines = [*heading(f"{package.__name__}: {title.lower()}", "="), inspect.getdoc(package) or "", ""]
    for folder, names in sorted(homes.items(), key=lambda item: (item[0] not in FIRST, item[0])):
        lines += heading(folder, "-")
        if folder != package.__name__:
            lines += [inspect.getdoc(import_module(folder)) or "", ""]
        lines += [line for name in names for line in directive(package, name)]
    return "\n".join(lines)


def heading(text: str, underline: str) -> list[str]:
    """A heading of reStructuredText."""
    return [text, underline * len(text), ""]


def directive(package: ModuleType, name: str) -> list[str]:
    """The directive that documents one public name."""
    kind = "class" if inspect.isclass(getattr(package, name)) else "function"
    options = ["   :members:"] if kind == "class" else []
    return [f".. auto{kind}:: {package.__name__}.{name}", *options, ""]
