"""Lists and mappings that are typed without brackets reach the parser as YAML."""

import pytest

from trainers.natural_forms import spell_out

ANNOTATIONS = {
    "--choices": "dict[str, list[int | float] | None] | None",
    "--args": "dict[str, Any]",
    "--sizes": "list[int]",
    "--overwrite": "bool",
}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--choices", "depth=1,2,width=0.5,1.0"], ["--choices", '{"depth": [1,2], "width": [0.5,1.0]}']),
        (["--choices=depth=1,2"], ['--choices={"depth": [1,2]}']),
        (["--choices", "width=null,depth=2"], ["--choices", '{"width": null, "depth": [2]}']),
        (["--args", "num_classes=10, a=b"], ["--args", '{"num_classes": 10, "a": b}']),
        (["--sizes", "20,28"], ["--sizes", "[20,28]"]),
        (["--sizes=20"], ["--sizes=[20]"]),
        (["--choices", "{depth: [1]}"], ["--choices", "{depth: [1]}"]),
        (["--choices", "depth"], ["--choices", "depth"]),
        (["--budget", "macs=2M", "net"], ["--budget", "macs=2M", "net"]),
        (["net", "--overwrite"], ["net", "--overwrite", "true"]),
        (["--overwrite", "net"], ["--overwrite", "true", "net"]),
        (["--overwrite", "--sizes", "20"], ["--overwrite", "true", "--sizes", "[20]"]),
        (["--overwrite", "false", "net"], ["--overwrite", "false", "net"]),
        (["--overwrite=false", "net"], ["--overwrite=false", "net"]),
    ],
)
def test_what_is_typed_is_spelt_out(typed, meant):
    assert spell_out(typed, ANNOTATIONS) == meant
