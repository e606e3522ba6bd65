"""What `inspect` says agrees with the space, the layout and the costs."""

import io

import pytest
from rich.console import Console
from small import FAMILIES, made_once
from torch import nn

from elastic import Recipe, elasticize
from elastic.errors import LayoutError
from elastic.layers.read_rules import TensorRule
from elastic.recipes.resolution import resolution_rule
from elastic.supernet.inspection import inspect, render


@pytest.mark.parametrize("family", FAMILIES)
def test_it_agrees_with_the_supernet(family):
    supernet = FAMILIES[family]()
    arch = supernet.activate(supernet.space.sample(0))
    found = inspect(supernet)
    assert supernet.arch == arch
    assert found.subnets == supernet.space.size
    assert {name for one in found.elastic for name in one.names} == {dim.name for dim in supernet.space.dims}
    for one in found.elastic:
        assert all(supernet.space[name].choices == one.choices for name in one.names)
    for costs, corner in ((found.smallest, supernet.space.smallest), (found.largest, supernet.space.largest)):
        assert costs.params == supernet.params([corner])[0]
        assert costs.macs == supernet.macs([corner])[0]
        assert costs.memory_bytes == supernet.memory([corner])[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_elastic_or_named(family):
    supernet = FAMILIES[family]()
    rules = supernet.layout.rules
    elastic = sum(
        parameter.numel()
        for name, parameter in supernet.model.named_parameters()
        if isinstance(rules.get(name.rpartition(".")[0], {}).get(name.rpartition(".")[2]), TensorRule)
    )
    fixed = sum(one.params for one in inspect(supernet).fixed)
    assert elastic + fixed == sum(parameter.numel() for parameter in supernet.model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tables_name_every_kind(family):
    supernet = FAMILIES[family]()
    text = rendered(supernet)
    assert f"{supernet.space.size:,} subnets" in text
    assert "Elastic" not in text  # the model's own class, as its library calls it
    for dim in supernet.space.dims:
        assert dim.kind in text
    for note in supernet.recipe.notes:
        assert note in text


def rendered(supernet):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(inspect(supernet)))
    return console.export_text()


def test_a_model_with_nothing_elastic_is_said_to_be_its_only_subnet():
    supernet = elasticize(nn.Sequential(nn.Linear(4, 3)), Recipe({}, {}, input_size=(4,)))
    assert inspect(supernet).elastic == ()
    text = rendered(supernet)
    assert "Sequential: nothing is elastic; its only subnet is the model itself" in text
    assert "the model" in text
    assert "smallest" not in text
    assert "no axis of any parameter is elastic" in text


def test_what_is_no_supernet_is_answered_with_how_to_make_one():
    for model in (nn.Linear(2, 2), "resnet18"):
        with pytest.raises(LayoutError, match=r"not a \w+; .*elastic.inspect\(elastic.elasticize\(model\)\)"):
            inspect(model)


def test_notebooks_show_what_is_elastic_as_a_table():
    found = inspect(made_once("vit"))
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + len(found.elastic)
    assert f"elastic in {found.model}" in shown


@pytest.mark.parametrize("part", ["layout", "recipe", "costs", "space"])
def test_each_part_is_one_short_line(part):
    supernet = made_once("vit")
    for shown in (repr(getattr(supernet, part)), repr(inspect(supernet))):
        assert len(shown) < 200
        assert "heads" in shown
        assert " at 0x" not in shown


def test_one_network_at_several_resolutions_is_counted_in_the_singular():
    recipe = Recipe({}, {"resolution": resolution_rule(32, 4)}, resolution=32, input_size=(3, 32, 32))
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1))
    assert "Sequential: 1 subnet, at 4 resolutions" in rendered(elasticize(model, recipe))
