"""Model cards: Markdown of what `config.json` says, and no line for what isn't known."""

import pytest

from elastic.shipping.card import ModelCard, write_card

CONFIG = {
    "source": {"model": "resnet18"},
    "class": "timm.models.resnet.ResNet",
    "arch": None,
    "arch_id": None,
    "input_size": [3, 32, 32],
    "metrics": {},
    "latency": None,
    "files": {"load.py": {}},
    "inputs": [],
    "native": None,
    "loader": False,
    "preprocessing": {},
}


def test_a_card_has_no_line_for_what_is_not_known(tmp_path):
    write_card(tmp_path / "README.md", ModelCard(), CONFIG)
    assert (
        (tmp_path / "README.md").read_text()
        == """\
---
tags:
- elastic-supernets
pipeline_tag: image-classification
---

# resnet18, cut out of a supernet

| | |
|---|---|
| model | `resnet18` (`timm.models.resnet.ResNet`) |
| input | 3 × 32 × 32 |

Files:

- `load.py`
"""
    )


def test_a_card_says_what_is_known(tmp_path):
    run = {"file": "model.onnx", "runtime": "onnxruntime 1", "median_ms": 1.234, "uncertainty": 0.01}
    latency = {"device": {"processor": "P", "cores": 4}, "threads": 1, "batch_size": 1, "runs": [run]}
    file = {"bytes": 2048, "batch": "any", "difference": {"largest": 0.0, "relative": 0.0}}
    config = {
        **CONFIG,
        "arch_id": "abc",
        "metrics": {"accuracy": 97.8},
        "latency": {**latency, "objections": ["a", "b"]},
        "files": {"model.safetensors": file},
        "native": "import timm\n",
        "preprocessing": {"mean": [0.5]},
    }
    write_card(tmp_path / "README.md", ModelCard("A <b> & c", {}, "Digits", "MIT", "Some *text*."), config)
    assert (
        (tmp_path / "README.md").read_text()
        == """\
---
tags:
- elastic-supernets
pipeline_tag: image-classification
library_name: timm
license: mit
---

# A &lt;b> & c

Some *text*.

| | |
|---|---|
| model | `resnet18` (`timm.models.resnet.ResNet`) |
| input | 3 × 32 × 32 |
| arch | `abc` |
| accuracy | 97.80 % |
| data | Digits |
| license | MIT |

Latency on P, 1 of 4 cores, batch 1:

| file | runtime | latency |
|---|---|---|
| `model.onnx` | onnxruntime 1 | 1.23 ms ± 1.0% |

The measurements are noisy: a; b.

Files:

- `model.safetensors`: 2 KiB; any batch size; the same numbers as PyTorch's

Where elastic isn't installed, in this folder:

```python
import timm
```

Inputs are prepared with `{'mean': [0.5]}`.
"""
    )


@pytest.mark.parametrize("name", ["a\n---\nlicense: theirs", "a | b", "<script>alert(1)</script>", "[/x] [bold]"])
def test_names_stay_names_in_cards(name, tmp_path):
    config = {**CONFIG, "metrics": {name: 1.0}, "files": {}}
    write_card(tmp_path / "README.md", ModelCard(name, {}, name, name), config)
    text = (tmp_path / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert "license" not in front
    assert "<script" not in text
    assert body.splitlines()[1].startswith("# ")
    cells = [line.replace("\\|", "") for line in body.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 3 for line in cells)
