"""The rooms and who may import whom, and three habits that none of them may have: read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each room must never import.
FORBIDDEN = {
    "elastic": {"zoo", "trainers", "tests", "lightning", "pytorch_lightning"},
    "zoo": {"trainers", "tests", "lightning", "pytorch_lightning"},
    "trainers": {"tests"},
}

# Upstream model libraries are the recipes' business, and the builder's, which makes a model by name.
MODEL_LIBRARIES = {"timm", "transformers"}
MAY_NAME_MODELS = ("elastic/recipes/", "elastic/building.py", "elastic/transformers_models.py")

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


def imported(node: ast.AST) -> list[str]:
    """The top-level packages that one statement or call imports; none for a relative import."""
    match node:
        case ast.Import(names=names):
            return [alias.name.split(".")[0] for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module.split(".")[0]]
        case ast.Call(args=[ast.Constant(value=str(module)), *_]) if ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            return [module.split(".")[0]]
    return []


def objections(path: str, source: str) -> list[str]:
    """What a file at `path` (relative to the root) must not do and does, one line for each."""
    room = path.split("/")[0]
    forbidden = set(FORBIDDEN[room])
    if room == "elastic" and not path.startswith(MAY_NAME_MODELS):
        forbidden |= MODEL_LIBRARIES

    found = []
    for node in ast.walk(ast.parse(source, filename=path)):
        found += [(node.lineno, f"imports {name}") for name in imported(node) if name in forbidden]
        match node:
            case ast.Call(func=ast.Name(id="print")):
                found.append((node.lineno, "calls print"))
            case ast.Call(func=func) if ast.unparse(func) in GLOBAL_SEEDING:
                found.append((node.lineno, f"calls {ast.unparse(func)}, which reseeds a global generator"))
            case ast.ExceptHandler(type=None):
                found.append((node.lineno, "has a bare except"))
    return [f"{path}:{line} {what}" for line, what in sorted(found)]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_room_keeps_its_rules(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    found = [line for f in files for line in objections(f.relative_to(ROOT).as_posix(), f.read_text("utf-8"))]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("elastic/space.py", "import zoo"),
        ("elastic/space.py", "def f():\n    from trainers.cli.main import main"),
        ("elastic/space.py", "import timm.models"),
        ("elastic/space.py", "importlib.import_module('lightning.pytorch')"),
        ("zoo/cards.py", "from lightning import Trainer"),
        ("trainers/cli.py", "print('done')"),
        ("trainers/cli.py", "torch.manual_seed(0)"),
        ("trainers/cli.py", "try:\n    f()\nexcept:\n    pass"),
    ],
)
def test_breach_is_found(path: str, source: str) -> None:
    assert len(objections(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("elastic/recipes/vit.py", "from timm.models import vision_transformer"),
        ("elastic/building.py", "import timm"),
        ("elastic/space.py", "from .zoo import name"),
        ("elastic/space.py", "torch.Generator().manual_seed(0)"),
        ("zoo/cards.py", "import elastic, timm"),
        ("trainers/cli.py", "import elastic, zoo, lightning"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert objections(path, source) == []
