"""What is cut out has tensors of its own, wherever its modules refer to them."""

import functools
from dataclasses import dataclass

import pytest
import torch
from small import randomise
from torch import fx, nn

import elastic


@dataclass
class Kept:
    weight: nn.Parameter
    others: dict


class Net(nn.Module):
    """Keeps its parameters a second time, in one of several kinds of attributes."""

    def __init__(self, kind):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
        one, every = self.body[0].weight, list(self.parameters())
        self.kept = {
            "list": every,
            "tuple": (one, 3),
            "dictionary": {"one": one, "more": {"every": every}},
            "set": set(every),
            "dataclass": Kept(one, {"every": every}),
            "partial": functools.partial(torch.sum, one),
            "modules": [self.body[0], [self.body]],
            "itself": every,
        }[kind]
        if kind == "itself":
            self.kept.append(self.kept)

    def forward(self, x):
        return self.body(x)


KINDS = ("list", "tuple", "dictionary", "set", "dataclass", "partial", "modules", "itself")


def _reachable(value, found):
    if isinstance(value, (torch.Tensor, nn.Module)):
        found.append(value)
    elif isinstance(value, (list, tuple, set)):
        for one in value:
            if one is not value:
                _reachable(one, found)
    elif isinstance(value, dict):
        _reachable(list(value.values()), found)
    elif isinstance(value, Kept):
        _reachable([value.weight, value.others], found)
    elif isinstance(value, functools.partial):
        _reachable(value.args, found)
    return found


def _same(supernet, arch, x):
    with torch.no_grad(), supernet.active(arch):
        active = supernet(x)
    subnet = supernet.extract(arch)
    with torch.no_grad():
        assert torch.equal(subnet(x), active)
    assert sum(one.numel() for one in subnet.parameters()) == supernet.params(arch)
    return subnet


@pytest.mark.parametrize("kind", KINDS)
def test_references_to_parameters_are_the_copys_own(kind):
    supernet = elastic.elasticize(randomise(Net(kind)).eval(), input_size=(8,))
    subnet = _same(supernet, supernet.space.smallest, torch.randn(2, 8))
    own = {id(one) for one in (*subnet.parameters(), *subnet.modules())}
    held = _reachable(subnet.kept, [])
    assert held
    assert all(id(one) in own for one in held)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + self.linear(x)


class Deep(nn.Module):
    """Lists the weights of its blocks, and holds the last one by itself."""

    def __init__(self, alone):
        super().__init__()
        self.stem, self.blocks, self.head = nn.Linear(4, 8), nn.Sequential(*map(Block, [8] * 4)), nn.Linear(8, 3)
        self.weights = [block.linear.weight for block in self.blocks]
        self.last = Kept(self.blocks[-1].linear.weight, {}) if alone else None

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def test_lists_lose_what_depth_leaves_out():
    supernet = elastic.elasticize(randomise(Deep(alone=False)).eval(), input_size=(4,))
    subnet = _same(supernet, supernet.space.smallest, torch.randn(2, 4))
    assert len(subnet.weights) == len(subnet.blocks) < 4


class Traced(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1), nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.b(self.a(x).relu()).relu().mean((2, 3)))


def test_graph_modules_are_cut_out_with_their_code():
    supernet = elastic.elasticize(fx.symbolic_trace(randomise(Traced()).eval()), input_size=(3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    whole = supernet(x)
    subnet = _same(supernet, supernet.space.smallest, x)
    assert isinstance(subnet, fx.GraphModule)
    assert torch.equal(supernet(x), whole)


def _with_closure():
    net = Net("list")
    weight = net.body[0].weight
    net.penalty = lambda: weight.sum()
    return net


def _lazy():
    return nn.Sequential(nn.LazyLinear(3))


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: torch.compile(Net("list")), "_orig_mod"),
        (lambda: nn.Sequential(torch.jit.script(nn.Linear(4, 4))), "script the subnet"),
        (lambda: nn.DataParallel(Net("list")), "give the module inside, .module"),
        (_with_closure, "penalty"),
        (_lazy, "run it once"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_what_is_no_plain_tree_is_refused(make, cure):
    model = make()
    classes = [type(module) for module in model.modules()]
    with pytest.raises(elastic.ElasticError, match=cure):
        elastic.elasticize(model, input_size=(8,))
    assert [type(module) for module in model.modules()] == classes
