"""Which folder may import which, and habits that none of them may have: read from the source."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Folder or top-level file → what it may import, beside itself. Every import points up: there is no circle.
BASE = {"elastic.errors", "elastic.support"}
CORE = BASE | {"elastic.space", "elastic.layers", "elastic.layout"}
HELD = CORE | {"elastic.upstream", "elastic.costs", "elastic.recipes", "elastic.discovery", "elastic.supernet"}
PUBLIC = {"elastic", *HELD}
MAY_IMPORT = {
    "elastic": set(),  # public names are imported on first use, by `__init__.pyi`
    "elastic.errors": set(),
    "elastic.support": {"elastic.errors"},
    "elastic.space": BASE,
    "elastic.layers": BASE | {"elastic.space"},
    "elastic.layout": BASE | {"elastic.space", "elastic.layers"},
    "elastic.upstream": BASE,
    "elastic.costs": CORE | {"elastic.upstream"},
    "elastic.recipes": CORE | {"elastic.upstream"},
    "elastic.discovery": CORE | {"elastic.upstream", "elastic.recipes"},
    "elastic.supernet": HELD,
    "elastic.formats": BASE | {"elastic.upstream"},
    "elastic.timing": BASE | {"elastic.space", "elastic.formats"},
    "elastic.prediction": HELD,
    "elastic.profiles": HELD | {"elastic.formats", "elastic.timing", "elastic.prediction"},
    "elastic.shipping": HELD | {"elastic.formats", "elastic.timing"},
    "elastic.searching": HELD | {"elastic.timing", "elastic.prediction", "elastic.profiles"},
    "elastic.reporting": HELD | {"elastic.profiles", "elastic.searching", "elastic.shipping"},
    "elastic.runtime": HELD | {"elastic.searching"},
    "elastic.testing": HELD,
}
LIBRARY = set(MAY_IMPORT)
MAY_IMPORT |= {
    "zoo.networks": LIBRARY,
    "zoo.published": LIBRARY | {"zoo.networks"},
    "zoo": LIBRARY | {"zoo.networks", "zoo.published"},
    "trainers.class_paths": LIBRARY,
    "trainers.configurations": LIBRARY | {"trainers.class_paths"},
    "trainers.data": LIBRARY | {"zoo"},
    "trainers.methods": LIBRARY,
    "trainers.robust": LIBRARY
    | {"trainers.class_paths", "trainers.configurations", "trainers.data", "trainers.methods"},
    "trainers.batchnorm_settings": LIBRARY
    | {"trainers.class_paths", "trainers.configurations", "trainers.methods", "trainers.robust"},
    "trainers.steps": LIBRARY | {"trainers.methods", "trainers.robust", "trainers.batchnorm_settings"},
}
TRAINING = {name for name in MAY_IMPORT if name.startswith("trainers.")}
MAY_IMPORT |= {
    "trainers": LIBRARY | TRAINING | {"zoo"},
    "trainers.jobs": LIBRARY | TRAINING | {"zoo", "zoo.published", "trainers"},
    "trainers.cli": LIBRARY | TRAINING | {"zoo", "zoo.published", "trainers", "trainers.jobs"},
}

# Lightning trains; whoever deploys a model needs no trainer.
TRAINERS_ONLY = {"lightning", "pytorch_lightning"}

# Upstream model libraries, and what only their models have, are known in one folder of `elastic`; the zoo and the
# trainers use them as any application does. Docstrings and error messages may name them to people.
MODEL_LIBRARIES = {"timm", "transformers"}
MODEL_FIELDS = {"pretrained_cfg", "default_cfg", "num_labels", "vocab_size", "max_position_embeddings"}
MAY_NAME_MODELS = ("elastic/upstream/", "elastic/support/packages.py", "zoo/", "trainers/")

# Calls that reseed a generator which others draw from; a torch.Generator of one's own is the cure.
GLOBAL_SEEDING = {
    "np.random.seed",
    "numpy.random.seed",
    "random.seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "torch.manual_seed",
    "torch.random.manual_seed",
}


def owner(module: str) -> str:
    """The entry of the table that a module belongs to."""
    parts = module.split(".")
    return next((name for n in (2, 1) if (name := ".".join(parts[:n])) in MAY_IMPORT), parts[0])


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that one statement or call imports; none for a relative import."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), level=0, names=names):
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.Call(args=[ast.Constant(value=str(module)), *_]) if ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            yield module


def names_models(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where code names a model library in a string, or a field that only its models have, and which."""
    to_people = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in MODEL_FIELDS:
                yield node.lineno, name
            case ast.Constant(value=str(text)) if id(node) not in to_people:
                yield from ((node.lineno, name) for name in MODEL_LIBRARIES | MODEL_FIELDS if name in text)


def may_not(path: str, module: str) -> bool:
    """Whether the file at `path` must not import `module`."""
    home, room = owner(path.removesuffix(".py").replace("/", ".")), module.split(".")[0]
    if room in ("elastic", "zoo", "trainers"):
        return owner(module) not in {home, *MAY_IMPORT[home]}
    if room in MODEL_LIBRARIES:
        return not path.startswith(MAY_NAME_MODELS)
    return room == "tests" or (room in TRAINERS_ONLY and not path.startswith("trainers/"))


def objections(path: str, source: str) -> list[str]:
    """What a file at `path` (relative to the root) must not do and does, one line for each."""
    found, tree = [], ast.parse(source, filename=path)
    if not path.startswith(MAY_NAME_MODELS):
        found += [(line, f"names {name}") for line, name in names_models(tree)]
    for node in ast.walk(tree):
        found += [(node.lineno, f"imports {name}") for name in imported(node) if may_not(path, name)]
        match node:
            case ast.Call(func=ast.Name(id="print")):
                found.append((node.lineno, "calls print"))
            case ast.Call(func=func) if ast.unparse(func) in GLOBAL_SEEDING:
                found.append((node.lineno, f"calls {ast.unparse(func)}, which reseeds a global generator"))
            case ast.ExceptHandler(type=None):
                found.append((node.lineno, "has a bare except"))
    return [f"{path}:{line} {what}" for line, what in sorted(found)]


FILES = sorted(file for room in ("elastic", "zoo", "trainers") for file in (ROOT / room).rglob("*.py"))


def test_imports_follow_the_table() -> None:
    found = [line for f in FILES for line in objections(f.relative_to(ROOT).as_posix(), f.read_text("utf-8"))]
    assert not found, "\n" + "\n".join(found)


def test_no_import_of_the_table_turns_back() -> None:
    def reached(name: str, seen: set[str]) -> set[str]:
        for other in MAY_IMPORT[name] - seen - {name}:
            seen |= {other} | reached(other, seen | {other})
        return seen

    assert not [name for name in MAY_IMPORT if name in reached(name, set())]


def modules_behind(node: ast.AST, names: set[str]) -> set[str]:
    """Which of these modules one statement imports, be it within a function or for annotations only."""
    found = {(module, module.rpartition(".")[0]) for module in imported(node)}
    return {whole if whole in names else of for whole, of in found} & names


def test_no_import_between_files_turns_back() -> None:
    named = {
        f.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): f for f in FILES
    }
    graph = {
        name: {
            module
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            for module in modules_behind(node, {*named} - {name})
        }
        for name, file in named.items()
    }
    assert "trainers.jobs.judge" in graph["trainers.jobs.search"]
    TopologicalSorter(graph).prepare()  # raises a CycleError that names the files


@pytest.mark.parametrize("room", ["elastic", "trainers", "zoo"])
def test_no_public_name_is_a_submodules(room: str) -> None:
    """Else `zoo.calibration` is the function or the module, by which was imported first."""
    stub = ast.parse((ROOT / room / "__init__.pyi").read_text("utf-8"))
    public = {
        alias.asname or alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert public
    assert not public & {path.stem for path in (ROOT / room).iterdir() if path.is_dir() or path.suffix == ".py"}


def test_no_test_depends_on_the_day_or_the_hour() -> None:
    clocks = ("date.today", "datetime.now", "datetime.utcnow", "time.time")
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        # files are given an age, which is measured from now
        ages = {
            id(n)
            for c in ast.walk(tree)
            if isinstance(c, ast.Call) and ast.unparse(c.func) == "os.utime"
            for n in ast.walk(c)
        }
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in ages]
        found += [f"{file}:{call.lineno}" for call in calls if ast.unparse(call.func).endswith(clocks)]
    assert not found, "give a fixed time instead"


def test_a_folder_fits_on_a_screen_and_says_what_it_is_for() -> None:
    folders = {file.parent for file in FILES if "configs" not in file.parts}
    for folder in folders:
        assert len(list(folder.glob("*.py"))) <= 16, folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))), folder


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("elastic/space/space.py", "import zoo"),
        ("elastic/space/space.py", "from elastic.layers.read_rules import Rule"),
        ("elastic/space/space.py", "def f():\n    from trainers.cli.main import main"),
        ("elastic/space/space.py", "from elastic import Supernet"),
        ("elastic/space/space.py", "import timm.models"),
        ("elastic/recipes/vit.py", "def f():\n    from timm.layers import PatchEmbed"),
        ("elastic/recipes/vit.py", "CLASS = 'timm.models.vision_transformer:Block'"),
        ("elastic/shipping/native.py", "known = library == 'transformers'"),
        ("elastic/supernet/supernet.py", "size = model.pretrained_cfg['input_size']"),
        ("elastic/supernet/supernet.py", "config = getattr(model, 'default_cfg', None)"),
        ("elastic/space/space.py", "importlib.import_module('lightning.pytorch')"),
        ("zoo/cards.py", "from lightning import Trainer"),
        ("zoo/networks/mobile.py", "from zoo.catalog import find"),
        ("trainers/cli/main.py", "print('done')"),
        ("trainers/cli/main.py", "torch.manual_seed(0)"),
        ("trainers/cli/main.py", "try:\n    f()\nexcept:\n    pass"),
    ],
)
def test_breach_is_found(path: str, source: str) -> None:
    assert len(objections(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("elastic/upstream/timm.py", "from timm.models import vision_transformer"),
        ("elastic/space/space.py", "from elastic.errors import ArchError"),
        ("elastic/space/space.py", "from .zoo import name"),
        ("elastic/space/space.py", "torch.Generator().manual_seed(0)"),
        ("elastic/recipes/vit.py", "'Vision transformers of timm.'\nraise ValueError(f'{1} is not a timm model')"),
        ("elastic/shipping/card.py", "from elastic.upstream.transformers import task_of"),
        ("zoo/cards.py", "import elastic, timm"),
        ("trainers/cli/main.py", "import elastic, zoo, lightning"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert objections(path, source) == []
