"""The report: one page, whole, that needs nothing else."""

import csv
import math
import re
from dataclasses import replace

import pytest
from small import mobilenet, vit

from elastic.errors import ArchError
from elastic.reporting.charts import draw_agreement, draw_front, draw_history
from elastic.reporting.drawing import draw_subnet
from elastic.reporting.report import Report, read_curves, write_csv, write_report
from elastic.searching.search import search
from elastic.support.text import short, spell_bytes, spell_count, spell_difference, spell_metric, spell_name


@pytest.fixture(scope="module")
def result():
    supernet = mobilenet()
    found = search(
        supernet,
        minimize=["macs"],
        subject_to={"macs": 1e6},
        evaluate=lambda arch: {"accuracy": float(int(arch.id, 16) % 100)},
        population=8,
        generations=2,
    )
    best = replace(found.best, measured={"accuracy": found.best.metrics["accuracy"] - 1, "macs": 9e5})
    candidates = (best if one == found.best else one for one in found.candidates)
    return supernet, replace(found, candidates=tuple(candidates))


def test_the_page_is_whole_and_self_contained(result, tmp_path):
    supernet, found = result
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,train/loss,val/largest/accuracy\n0,1,2.5,\n0,2,2.0,\n0,2,,0.5\n")
    report = Report("A <title>", supernet, found, {"accuracy": "9 %"}, [("do", "elastic demo")], read_curves(log),
                    agreement={"latency_ms": {"random": ([1.0, 2.0], [1.1, 1.9])}},
                    front_notes="Off by 3 %")  # fmt: skip
    page = write_report(report, tmp_path / "report.html").read_text("utf-8")
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["'](?!data:)""", outside)
    assert "A &lt;title&gt;" in outside
    assert "$" not in outside
    for one in found.front:
        assert one.arch.id in page
    assert outside.count('<details class="subnet"') == min(len(found.front), 8)
    for text in ("Training", "elastic demo", "9 %", "Off by 3 %", found.best.arch.id, "Predicted against measured",
                 "how the search went on", "measured again"):  # fmt: skip
        assert text in outside


def test_curves_have_gaps_and_no_epochs(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,loss,accuracy\n0,9,2.5,\n0,18,,0.25\n1,19,2.0,\n")
    assert read_curves(log) == {"loss": ([9, 19], [2.5, 2.0]), "accuracy": ([18], [0.25])}


def test_the_front_shows_every_candidate_once_with_its_arch(result):
    _, found = result
    traces = {trace.name: trace for trace in draw_front(found).data}
    shown = {text for name in ("evaluated", "Pareto front", "chosen") for text in traces[name].text}
    assert len(shown) == len(found.candidates)
    assert traces["chosen"].x == (found.best.metrics["macs"],)
    for kind in {name.split(".")[0] for name in found.best.arch}:
        assert f"{kind}: " in traces["chosen"].text[0]


def test_marks_can_be_told_apart(result):
    _, found = result
    marks = {name: found.candidates[k] for k, name in enumerate(("smallest", "largest", "chosen, timed"))}
    traces = {trace.name: trace for trace in draw_front(found, marks).data}
    symbols = {traces[name].marker.symbol for name in marks}
    assert len(symbols) == 3
    assert traces["largest"].x == (found.candidates[1].metrics["macs"],)


def test_what_was_measured_again_is_tied_to_what_was_expected(result):
    _, found = result
    traces = {trace.name: trace for trace in draw_front(found).data}
    assert traces["measured again"].x == (9e5,)
    assert draw_front(replace(found, candidates=found.candidates[:1])).data[-1].name == "chosen"


def test_predictions_and_history_are_drawn(result):
    _, found = result
    agreement = draw_agreement({"a": ([1.0, 2.0], [1.1, 1.9]), "b": ([3.0], [2.0])}, "latency_ms.phone")
    assert [trace.name for trace in agreement.data[1:]] == ["a", "b"]
    assert "+50.0 %" in agreement.data[2].text[0]
    assert agreement.layout.xaxis.title.text == "predicted latency (ms), phone"
    history = draw_history(found)
    assert history.data[0].x[-1] == found.evaluations


def test_disagreement_has_the_metrics_own_unit():
    robust = draw_agreement({"front": ([2.0, 41.5], [0.0, 40.0])}, "robust")
    assert [text.split("<br>")[-1] for text in robust.data[1].text] == ["+2.00 points", "+1.50 points"]
    latency = draw_agreement({"front": ([2.0], [0.0])}, "latency_ms")
    assert latency.data[1].text[0].endswith("measured 0 ms<br>off by 2 ms")


def test_agreement_of_nothing_is_an_empty_chart():
    assert [len(trace.x) for trace in draw_agreement({"front": ([], [])}, "latency_ms").data] == [0, 0]


def test_the_table_has_every_candidate_and_dim(result, tmp_path):
    _, found = result
    with write_csv(found, tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["arch"] for row in rows] == [one.arch.id for one in found.candidates]
    assert sum(row["front"] == "1" for row in rows) == len(found.front)
    for row, one in zip(rows, found.candidates, strict=True):
        assert {name: float(row[name]) for name in one.arch} == dict(one.arch)
        assert float(row["macs"]) == one.metrics["macs"]
        assert row["measured macs"] == ("900000.0" if one.measured else "")


@pytest.mark.parametrize("family", [vit, mobilenet])
def test_the_drawing_has_every_block_and_hatches_those_left_out(family):
    supernet = family()
    blocks = len(supernet.layout.gates)
    largest, smallest = (draw_subnet(supernet, arch) for arch in (supernet.space.largest, supernet.space.smallest))
    assert largest.count('class="block"') == blocks
    assert smallest.count('class="block') - smallest.count('class="blocks"') == blocks
    left_out = sum(
        supernet.space.largest[dim.name] - supernet.space.smallest[dim.name]
        for dim in supernet.space.dims
        if dim.kind == "depth"
    )
    assert smallest.count("left out") == left_out > 0


def test_the_drawing_has_every_dim_of_the_arch():
    supernet = mobilenet()
    arch = supernet.space.sample(5)
    assert draw_subnet(supernet, arch).count('class="meter"') == len(arch)
    with pytest.raises(ArchError):
        draw_subnet(supernet, {"no": 1})


@pytest.mark.parametrize(
    ("spelled", "text"),
    [
        (short(1234567), "1.23M"),
        (short(12), "12"),
        (short(999.4), "999"),
        (short(999.6), "1k"),
        (short(-999_999), "-1M"),
        (short(999_999_999), "1G"),
        (short(1.5e12), "1.5T"),
        (short(math.nan), "nan"),
        (spell_bytes(1023), "1023 B"),
        (spell_bytes(1536), "1.5 KiB"),
        (spell_bytes(999 * 1024), "999 KiB"),
        (spell_bytes(1020 * 1024), "0.996 MiB"),
        (spell_bytes(2**50), "1.02e+03 TiB"),
        (spell_count(22113), "22,113"),
        (spell_count(22 * 10**18), "2.2e+19"),
        (spell_count(9_990_000_000), "1.0e+10"),
        (spell_count(10**400), "1.0e+400"),
        (spell_difference("accuracy.clean", 97.0, 97.5), "-0.50 points"),
        (spell_difference("latency_ms.phone", 1.5, 1.0), "+50.0 %"),
        (spell_metric("latency_ms", 1.234), "1.23 ms"),
        (spell_metric("latency_ms", 1234.5), "1,234 ms"),
        (spell_metric("accuracy", 97.5), "97.50 %"),
        (spell_metric("memory_bytes", 2**20), "1 MiB"),
        (spell_name("macs"), "MACs"),
        (spell_name("memory_bytes"), "memory"),
    ],
)
def test_metrics_are_spelled_for_people(spelled, text):
    assert spelled == text
