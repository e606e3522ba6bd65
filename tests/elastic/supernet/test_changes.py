"""What happens to a supernet after it was made: parts that are replaced, and threads that share it."""

import copy
import threading

import pytest
import torch
from small import vit
from torch import nn

import elastic
from elastic.errors import LayoutError


def _replaced(model):
    model.reset_classifier(3)


def _added(model):
    model.adapter = nn.Linear(3, 3)


def _removed(model):
    model.blocks[0].mlp = nn.Identity()


def _reshaped(model):
    model.head.weight = nn.Parameter(torch.zeros(3, 48))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_replaced, "head was replaced"),
        (_added, "adapter was added"),
        (_removed, r"blocks\.0\.mlp was replaced"),
        (_reshaped, r"head\.weight has the shape \(3, 48\)"),
    ],
)
def test_parts_that_are_replaced_afterwards_are_noticed(change, said):
    supernet = vit()
    change(supernet.model)
    arch = supernet.space.smallest
    for use in (supernet.activate, supernet.extract, supernet.macs, supernet.params):
        with pytest.raises(LayoutError, match=f"{said}.* before elasticize, or on the subnet that is cut out"):
            use(arch)
    assert supernet.arch == supernet.space.largest


def test_changes_that_no_size_depends_on_are_fine():
    supernet = vit()
    supernet.model.norm_pre = nn.Dropout(0.1)
    supernet.model.load_state_dict(copy.deepcopy(supernet.model.state_dict()), assign=True)
    supernet.activate(supernet.space.smallest)
    copied = copy.deepcopy(supernet)
    copied.activate(supernet.space.largest)
    assert supernet.arch == supernet.space.smallest


def test_threads_take_turns():
    supernet, images = vit(), torch.randn(1, 3, 32, 32)
    archs, right, wrong = supernet.space.sample(0, 2), {}, []
    with torch.no_grad():
        whole = supernet(images)
        for arch in archs:
            with supernet.active(arch):
                right[arch] = supernet(images)

    def work(arch):
        for _ in range(10):
            with torch.no_grad(), supernet.active(arch):
                wrong.append(not torch.equal(supernet(images), right[arch]))
            with torch.no_grad():
                wrong.append(not torch.equal(supernet(images), whole))

    threads = [threading.Thread(target=work, args=(arch,)) for arch in archs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 40
    assert not any(wrong)
    assert supernet.arch == supernet.space.largest


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.hidden, self.head = nn.LSTM(4, 16, batch_first=True), nn.Linear(16, 32), nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.hidden(self.rnn(x)[0][:, -1]).relu())


def test_a_recurrent_supernet_is_copied_after_a_step():
    supernet, x = elastic.elasticize(Reader(), input_size=(5, 4)), torch.randn(2, 5, 4)
    with supernet.active(supernet.space.smallest):
        supernet(x).sum().backward()
    copied = copy.deepcopy(supernet)
    with torch.no_grad():
        assert torch.equal(copied(x), supernet(x))
        copied.model.rnn.weight_ih_l0.mul_(2)
        assert not torch.equal(copied(x), supernet(x))
