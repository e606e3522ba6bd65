"""`make bench`: what elasticity costs a BERT."""

import pytest

pytest.importorskip("transformers")

import torch
import transformers

import elastic
from trainers.methods.optimizers import OptimizerOptions


def bert(**fields):
    return transformers.BertForSequenceClassification(transformers.BertConfig(**fields))


@pytest.mark.usefixtures("two_threads")
def test_training_step(side_by_side, figure):
    """Forward, backward and SGD of a subnet: active in the supernet, and extracted."""
    model = bert(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
    supernet = elastic.elasticize(model).train()
    arch = supernet.space.sample(0)
    subnet = supernet.extract(arch).train()
    ids, labels = torch.randint(3, 30000, (16, 64)), torch.randint(0, 2, (16,))
    optimisers = [OptimizerOptions().build(net, 1e-3) for net in (supernet.model, subnet)]

    def step(run, optimiser):
        optimiser.zero_grad(set_to_none=False)
        torch.nn.functional.cross_entropy(run(ids).logits, labels).backward()
        optimiser.step()

    def active():
        supernet.activate(arch)
        step(supernet, optimisers[0])

    with supernet.training_in_place():
        times = side_by_side(60, active, lambda: step(subnet, optimisers[1]))
    ratios = [a / p for a, p in zip(*times, strict=True)]
    figure("training step, active / extracted (BERT, 4 layers of 256, 16 @64)", ratios, "×", "≤ 1.05")


@pytest.mark.usefixtures("two_threads")
def test_extract(side_by_side, figure):
    supernet = elastic.elasticize(bert())
    archs = supernet.space.sample(0, 30)
    times = [1000 * side_by_side(1, lambda arch=arch: supernet.extract(arch))[0][0] for arch in archs]
    figure("extract (BERT-base, 30 random subnets)", times, "ms", "≤ 20")
    times = [1000 * side_by_side(1, lambda arch=arch: supernet.extract(arch, share=True))[0][0] for arch in archs]
    figure("extract, sharing the supernet's memory (BERT-base, 30 random subnets)", times, "ms", "≤ 20")
    parameters = list(supernet.extract(archs[0]).parameters())
    both = side_by_side(10, lambda: supernet.extract(archs[0]), lambda: [p.detach().clone() for p in parameters])
    figure("extract / a copy of its tensors (BERT-base)", [a / b for a, b in zip(*both, strict=True)], "×", "–")
