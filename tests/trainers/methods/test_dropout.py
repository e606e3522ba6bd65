"""Dropout off, and on again."""

import timm
import torch

from trainers.methods.dropout import without_dropout

RATES = {"drop_rate": 0.3, "drop_path_rate": 0.3, "num_classes": 10}


def test_without_dropout_training_is_deterministic():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, attn_drop_rate=0.2, **RATES).train()
    patches = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, patch_drop_rate=0.5).train()
    nets = [vit, patches, timm.create_model("mobilenetv3_small_050", **RATES).train()]
    for net in nets:
        x = torch.randn(4, 3, 32, 32)
        assert not torch.equal(net(x), net(x))
        with without_dropout(net):
            assert net.training
            assert torch.equal(net(x), net(x))
        assert not torch.equal(net(x), net(x))


def test_rates_are_put_back_whatever_happens():
    net = timm.create_model("mobilenetv3_small_050", **RATES)
    before = {name: dict(vars(module)) for name, module in net.named_modules()}
    try:
        with without_dropout(net):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    after = {name: dict(vars(module)) for name, module in net.named_modules()}
    for name, values in before.items():
        assert {k: v for k, v in values.items() if isinstance(v, float)} == {
            k: v for k, v in after[name].items() if isinstance(v, float)
        }
