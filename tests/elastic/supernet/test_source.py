"""What a source builds, and what its subnets' cards say of loading them."""

from dataclasses import replace

from small import SOURCE

from elastic.shipping.export import export
from elastic.shipping.loading import load_subnet
from elastic.supernet.elasticize import elasticize
from elastic.supernet.source import SupernetSource


def test_the_model_is_the_full_one_or_the_subnet_that_the_source_names():
    supernet = SOURCE.build()
    space = supernet.space
    for source, arch in ((SOURCE, space.largest), (replace(SOURCE, arch=dict(space.smallest)), space.smallest)):
        models = (source.build_model(), supernet.extract(arch))
        shapes, wanted = ({key: one.shape for key, one in model.state_dict().items()} for model in models)
        assert shapes == wanted


def test_a_subnet_that_is_trained_further_is_made_of_its_supernet_at_once(tmp_path, monkeypatch):
    """However often it was: once elastic, to be cut out, and once as a supernet of one."""
    made = []

    def counting(model, *args, **options):
        made.append(model)
        return elasticize(model, *args, **options)

    monkeypatch.setattr("elastic.supernet.source.elasticize", counting)
    source, subnet = SOURCE, SOURCE.build().extract(SOURCE.build().space.smallest)
    arch = dict(SOURCE.build().space.smallest)
    for generation in range(3):
        folder = tmp_path / str(generation)
        export(subnet, folder, arch=arch, source=source)
        source = SupernetSource.of_subnet(folder)
        made.clear()
        supernet = source.build()
        assert len(made) == 2
        arch, subnet = {}, supernet.extract(supernet.space.largest)


def test_the_card_of_a_subnet_that_was_trained_further_says_how_it_is_loaded(tmp_path):
    """It is a supernet of one: its arch is there, and empty."""
    supernet = SOURCE.build()
    arch = supernet.space.smallest
    subnet = supernet.extract(arch)
    export(subnet, tmp_path, arch={}, source=replace(SOURCE, arch=dict(arch)))
    load_subnet(tmp_path)
    assert "elastic.load_subnet" in (tmp_path / "README.md").read_text()
    for known in ({"arch": arch}, {"source": SOURCE}, {}):
        export(subnet, tmp_path, **known)
        assert "elastic.load_subnet" not in (tmp_path / "README.md").read_text()
