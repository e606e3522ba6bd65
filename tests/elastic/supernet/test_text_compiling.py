"""Compiled layers of a BERT: few graphs for all of DynaBERT's subnets, and the results of eager mode."""

import pytest

pytest.importorskip("transformers")

import torch
from examples import mostly_swept
from small import randomise
from text_families import CASES, inputs

import elastic
from elastic.supernet.compiling import compiled
from elastic.support.inputs import predict


def results(supernet, given):
    supernet.zero_grad()
    output = predict(supernet, given)
    output.square().sum().backward()
    return output.detach(), {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch looks at its own tensors' while it traces
@pytest.mark.parametrize("attention", mostly_swept(["eager", "sdpa"], ["sdpa"]))
def test_few_graphs_serve_all_subnets(attention):
    import transformers

    config = CASES["dynabert"].config | {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    config = transformers.BertConfig(**config, attn_implementation=attention)
    model = randomise(transformers.BertForSequenceClassification(config))
    supernet, graphs = elastic.elasticize(model, "dynabert").train(), []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    archs = list(dict.fromkeys([supernet.space.largest, *supernet.space.sample(0, 200)]))
    assert len(archs) == 12
    for arch in archs:
        with supernet.active(arch):
            eager = results(supernet, inputs())
            with compiled(supernet, count):
                ours = results(supernet, inputs())
        torch.testing.assert_close(ours[0], eager[0])
        assert ours[1].keys() >= eager[1].keys()
        for name, gradient in ours[1].items():
            torch.testing.assert_close(gradient, eager[1].get(name, torch.zeros_like(gradient)))
    assert 0 < len(graphs) <= 4
    assert not torch._dynamo.utils.counters["graph_break"], "something fell back to eager mode"
