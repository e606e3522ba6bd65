"""`elastic inspect`: what in a model is elastic, and what its subnets cost."""

from __future__ import annotations

from typing import Any


def inspect(
    model: str,
    model_args: dict[str, Any] | None = None,
    recipe: str | None = None,
    choices: dict[str, list[int | float] | None] | None = None,
    options: dict[str, Any] | None = None,
    couple: dict[str, str] | None = None,
) -> None:
    """Show what in a model is elastic, what is not and why, and what its subnets cost.

    Args:
        model: a timm model's name, transformers:NAME, or a trained supernet's folder (which needs no other argument).
        model_args: keyword arguments of `timm.create_model`, or fields of the configuration.
        recipe: the recipe's name; found by the model's class by default.
        choices: what to offer instead of the recipe's choices, such as depth=1,2,width=0.5,1.0.
        options: the recipe's own options.
        couple: dims that follow another's choice, such as mid=depth.
    """
    from elastic.supernet.registry import is_place
    from elastic.support.progress import waiting

    with waiting("loading PyTorch"):
        from elastic.supernet.inspection import inspect as inspect_supernet
        from elastic.supernet.inspection import render
        from elastic.supernet.source import SupernetSource
        from elastic.support.console import show
        from trainers.jobs.trained import open_trained

    if is_place(model):
        supernet = open_trained(model).supernet
    else:
        source = SupernetSource(model, model_args or {}, recipe, choices or {}, options or {}, couple=couple or {})
        supernet = source.untrained().build()
    show(render(inspect_supernet(supernet)))
