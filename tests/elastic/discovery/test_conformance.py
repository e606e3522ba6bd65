"""The conformance table: some architectures always, all of them in sweeps and by `elastic conformance`."""

from importlib.util import find_spec

import pytest
from examples import mostly_swept

from elastic.discovery.discovered import DISCOVERED
from elastic.errors import RecipeError
from trainers.cli.conformance import conformance
from trainers.jobs.conformance import ARCHITECTURES, TRANSFORMERS, Conformance, conform, markdown

KNOWN = [*ARCHITECTURES, *(TRANSFORMERS if find_spec("transformers") else ())]
ALWAYS = [name for name in ("resnet18", "mixer_s32_224", "transformers:gpt2") if name in KNOWN]


@pytest.mark.parametrize("name", mostly_swept(KNOWN, ALWAYS))
def test_an_architecture_is_elastic_and_exact(name):
    found = conform(name)
    assert found.exact, found
    assert found.kinds & {"width", "heads"}
    assert found.counted


def test_the_recipe_is_named_as_it_was_chosen():
    """By the model's class; two models whose sizes are called alike may have one of each kind."""
    assert [conform(name, 1).recipe for name in ("resnet18", "dla34")] == ["resnet", DISCOVERED]


def test_all_sorts_of_architectures_are_listed_once():
    assert len(ARCHITECTURES) == len(set(ARCHITECTURES)) >= 60
    assert len(TRANSFORMERS) == len(set(TRANSFORMERS)) >= 50


def test_the_command_writes_a_table_and_fails_where_something_is_not_elastic(tmp_path, capsys):
    conformance("test_resnet", str(tmp_path / "table.md"))
    assert "1 architectures 1 convert, 0 with width and depth" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "table.md").read_text().startswith("| architecture | recipe | width |")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformers:brt", "no type of model 'brt', .*did you mean bart, bert or"),
        ("transformers:foo", "no type of model 'foo'"),
        ("transformers:vit", "no language model of the type 'vit'"),
        ("resnet1", "no model 'resnet1', .*did you mean resnet1"),
    ],
)
def test_a_name_that_does_not_exist_is_said_before_the_first_is_made(name, message, monkeypatch, tmp_path):
    pytest.importorskip("transformers")
    monkeypatch.setattr("trainers.jobs.conformance.conform", lambda name: pytest.fail(f"made {name}"))
    with pytest.raises(RecipeError, match=message):
        conformance(f"test_resnet,{name}", str(tmp_path / "table.md"))
    assert not (tmp_path / "table.md").exists()


def test_what_differs_is_said():
    good = Conformance("a", "resnet", frozenset({"width", "depth"}), 0.2, counted=True)
    bad, none = (
        Conformance("b", "discovered", ratio=0.5, difference=1e-3, masked=0.25),
        Conformance("c", problem="no recipe"),
    )
    text = markdown([good, bad, none])
    assert "Of 3 architectures 2 convert, 1 with width and depth; in 1 the smallest" in text
    assert text.endswith("1 are exact.")
    assert "| b | discovered | – | – | – | – | – | – | 50 % | 0 | 0.001 | 0.25 | – | 0.0 |" in text
