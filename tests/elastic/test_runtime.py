"""Switching at run time: each budget computes what its subnet would, cut out and recalibrated."""

import copy
import threading

import pytest
import timm
import torch
from examples import mostly_swept
from small import mobilenet, randomise, vit

import elastic
from elastic.errors import ArchError, BudgetError
from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.supernet.folder import digest_supernet


def batches(count=3, side=32):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(8, 3, side, side, generator=generator) for _ in range(count)]


def ghost():
    """Its BatchNorms have axes (2 width): the active statistics are no view of the stored ones."""
    return elastic.elasticize(randomise(timm.create_model("ghostnet_050", num_classes=5)), input_size=(3, 32, 32))


@pytest.mark.parametrize("make", mostly_swept([mobilenet, vit, ghost], [mobilenet, vit]))
def test_each_budget_is_its_recalibrated_subnet(make):
    supernet = make()
    space, images = supernet.space, batches(1)[0]
    full = {"resolution": 32} if "resolution" in space.names else {}
    archs = {name: space.variant(full, of=arch) for name, arch in (("s", space.smallest), ("m", space.sample(3)))}
    wanted = {}
    for name, arch in archs.items():
        subnet = supernet.extract(arch)
        elastic.recalibrate(subnet, batches())
        wanted[name] = subnet(images)
    stored = {key: tensor for key, tensor in supernet.state_dict().items() if "running" not in key}
    runtime = elastic.Runtime(supernet, archs, calibration=batches())
    assert runtime.budget == "s"
    for name in ("s", "m", "s"):
        assert runtime.switch(name) == archs[name]
        torch.testing.assert_close(runtime(images), wanted[name], rtol=1e-4, atol=1e-5)
    assert all(supernet.state_dict()[key].data_ptr() == tensor.data_ptr() for key, tensor in stored.items())


def test_threads_never_see_half_a_switch():
    supernet = mobilenet()
    archs = {"small": supernet.space.smallest, "large": supernet.space.largest}
    runtime = elastic.Runtime(supernet, archs, calibration=batches())
    images = batches(1)[0]
    allowed = []
    for name in archs:
        runtime.switch(name)
        allowed.append(runtime(images))
    wrong, stop = [], threading.Event()

    def infer():
        while not stop.is_set():
            found = runtime(images)
            if not any(torch.equal(found, one) for one in allowed):
                wrong.append(found)

    threads = [threading.Thread(target=infer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        runtime.switch(("small", "large")[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def found(supernet):
    archs = [supernet.space.smallest, supernet.space.sample(1), supernet.space.largest]
    metrics = [{"accuracy": 50.0 + at, "latency_ms": 1.0 + at} for at in range(3)]
    candidates = tuple(EvaluatedSubnet(arch, one) for arch, one in zip(archs, metrics, strict=True))
    return archs, SearchResult(digest_supernet(supernet), ("accuracy",), ("latency_ms",), {}, candidates)


class InterruptError(Exception):
    """In place of Ctrl-C."""


def test_whoever_is_interrupted_while_waiting_locks_nobody_out(monkeypatch):
    runtime = elastic.Runtime(mobilenet(), {"small": mobilenet().space.smallest, "large": mobilenet().space.largest})

    def interrupted(condition):
        raise InterruptError

    with monkeypatch.context() as patch:
        patch.setattr(runtime._gate._changed, "wait_for", interrupted)
        with pytest.raises(InterruptError):
            runtime.switch("large")
    assert runtime.budget == "small"
    runtime(batches(1)[0])
    runtime.switch("large")


def test_after_an_interrupted_switch_nothing_runs_until_the_next(monkeypatch):
    runtime = elastic.Runtime(mobilenet(), {"small": mobilenet().space.smallest, "large": mobilenet().space.largest})

    def interrupted(arch):
        raise InterruptError

    with monkeypatch.context() as patch:
        patch.setattr(runtime.supernet, "activate", interrupted)
        with pytest.raises(InterruptError):
            runtime.switch("large")
    with pytest.raises(ArchError, match="the last switch was interrupted, and no budget is active; switch again"):
        runtime(batches(1)[0])
    runtime.switch("small")
    runtime(batches(1)[0])


def test_budgets_are_met_by_the_best_that_a_search_found(tmp_path):
    supernet = vit()
    archs, result = found(supernet)
    path = result.save(tmp_path / "search.json")
    runtime = elastic.Runtime(supernet, {"2 ms": {"latency_ms": 2.5}, "any": {"latency_ms": 9}}, result=path)
    assert runtime.archs == {"2 ms": archs[1], "any": archs[2]}
    with pytest.raises(BudgetError, match=r"budget 'now' \{'latency_ms': 0.1\}; the least are \{'latency_ms': 1.0\}"):
        elastic.Runtime(supernet, {"now": {"latency_ms": 0.1}}, result=result)
    with pytest.raises(BudgetError, match="limits latency; the result has accuracy, latency_ms"):
        elastic.Runtime(supernet, {"now": {"latency": 2.0}}, result=result)
    with pytest.raises(ArchError, match="search this one"):
        elastic.Runtime(mobilenet(), {"any": {"latency_ms": 9}}, result=result)


def test_a_folder_is_loaded(tmp_path):
    from elastic.supernet.folder import save_supernet
    from elastic.supernet.source import SupernetSource

    source = SupernetSource("test_resnet", {"num_classes": 5}, options={"input_size": [3, 32, 32]})
    supernet = source.build()
    save_supernet(supernet, source, tmp_path / "run")
    runtime = elastic.Runtime(tmp_path / "run", {"small": supernet.space.smallest})
    expected = copy.deepcopy(supernet).eval()
    with expected.active(supernet.space.smallest), torch.no_grad():
        assert torch.equal(runtime(batches(1)[0]), expected(batches(1)[0]))


def test_wrong_budgets_are_refused():
    supernet = vit()
    with pytest.raises(ArchError, match="no budgets"):
        elastic.Runtime(supernet, {})
    with pytest.raises(ArchError):
        elastic.Runtime(supernet, {"odd": {"embed": 7}})
    with pytest.raises(ArchError, match="no budget 'fast'; there are 'small'"):
        elastic.Runtime(supernet, {"small": supernet.space.smallest}).switch("fast")
