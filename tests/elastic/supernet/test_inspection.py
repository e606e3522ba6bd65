"""What `inspect` says agrees with the space, the layout and the costs."""

import io

import pytest
from rich.console import Console
from small import FAMILIES

from elastic.layers.rules import TensorRule
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
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(inspect(supernet)))
    text = console.export_text()
    assert f"{supernet.space.size:,} subnets" in text
    assert "Elastic" not in text  # the model's own class, as its library calls it
    for dim in supernet.space.dims:
        assert dim.kind in text
    for note in supernet.recipe.notes:
        assert note in text
