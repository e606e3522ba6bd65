"""One counter: formulas, exported models' metrics and PyTorch's counter agree, whatever kernels a layer could take."""

import pytest
import torch
from counting import macs_of, memory_of
from small import randomise
from torch import nn
from torch.backends import mha, mkldnn
from torch.nn import functional as F

import elastic
from elastic.costs.counting import unfused
from elastic.errors import CostError
from elastic.shipping.export import measure_costs


class Between(nn.Module):
    """A module between linear layers, on 8 tokens."""

    def __init__(self, inner, width=16):
        super().__init__()
        self.stem, self.inner = nn.Linear(6, 16), inner
        self.head = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        y = self.inner(self.stem(x))
        return self.head(y[0] if isinstance(y, tuple) else y)


class Stateful(nn.Module):
    """A recurrent layer whose first states the code makes."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(16, 12, batch_first=True)

    def forward(self, x):
        states = torch.zeros(1, len(x), self.rnn.hidden_size, device=x.device)
        return self.rnn(x, (states, states))[0]


class Attention(nn.Module):
    """Attention of 2 heads, by PyTorch's function or written out."""

    def __init__(self, fused):
        super().__init__()
        self.fused, self.heads = fused, 2
        self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x):
        q, k, v = (one(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (self.q, self.k, self.v))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))


class Itself(nn.Module):
    """Multi-head attention of tokens to themselves."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Zipped(nn.Module):
    """Runs as many blocks as the shorter of two lists has."""

    def __init__(self):
        super().__init__()
        self.first = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.second = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))

    def forward(self, x):
        for one, other in zip(self.first, self.second, strict=False):
            x = x + other(F.relu(one(x)))
        return x


class Across(nn.Module):
    """A convolution along the tokens."""

    def __init__(self, conv):
        super().__init__()
        self.before, self.conv = nn.Conv1d(16, 12, 1), conv

    def forward(self, x):
        return self.conv(self.before(x.transpose(1, 2))).transpose(1, 2)


def encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


RECURRENT = {
    "LSTM": lambda: nn.LSTM(16, 16, batch_first=True),
    "LSTM of two layers, both ways": lambda: (nn.LSTM(16, 12, 2, batch_first=True, bidirectional=True), 24),
    "LSTM with states": lambda: (Stateful(), 12),
    "GRU": lambda: nn.GRU(16, 16, batch_first=True),
    "RNN": lambda: nn.RNN(16, 16, batch_first=True),
}
INNER = RECURRENT | {
    "TransformerEncoder": encoder,
    "MultiheadAttention": Itself,
    "fused attention": lambda: Attention(True),
    "attention written out": lambda: Attention(False),
    "shorter of two lists": Zipped,
    "transposed": lambda: Across(nn.ConvTranspose1d(12, 16, 3, 2, padding=1)),
    "transposed in groups": lambda: Across(nn.ConvTranspose1d(12, 16, 4, 2, groups=2)),
    **{
        f"padded, {mode}": lambda mode=mode: Across(nn.Conv1d(12, 16, 3, padding=2, padding_mode=mode))
        for mode in ("zeros", "circular", "reflect", "replicate")
    },
}


@pytest.mark.parametrize("name", INNER)
def test_one_counter(name):
    inner = INNER[name]()
    inner, width = inner if isinstance(inner, tuple) else (inner, 16)
    supernet = elastic.elasticize(randomise(Between(inner, width)).eval(), input_size=(8, 6))
    one = supernet.example_inputs(seed=0)
    for arch in (supernet.space.smallest, supernet.space.largest, supernet.space.sample(0)):
        subnet = supernet.extract(arch)
        assert supernet.macs(arch) == macs_of(subnet, one) == measure_costs(subnet, one)["macs"]
        if name not in RECURRENT:
            assert supernet.memory(arch) == memory_of(subnet, one)


def test_memory_of_recurrent_layers_is_refused():
    supernet = elastic.elasticize(Between(RECURRENT["GRU"]()).eval(), input_size=(8, 6))
    with pytest.raises(CostError, match=r"recurrent layer 'inner' runs in each device's own kernels"):
        supernet.memory(supernet.space.smallest)


def test_attention_costs_the_same_however_it_is_written():
    fused, explicit = (elastic.elasticize(Between(Attention(how)).eval(), input_size=(8, 6)) for how in (True, False))
    assert fused.space == explicit.space
    archs = fused.space.sample(0, 20)
    assert fused.macs(archs).tolist() == explicit.macs(archs).tolist()


def test_settings_are_left_as_they_were():
    def settings():
        return mha.get_fastpath_enabled(), mkldnn.enabled, torch.backends.cuda.flash_sdp_enabled()

    before = settings()
    with unfused():
        assert settings() == (False, False, False)
    assert settings() == before
