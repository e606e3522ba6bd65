"""Searches in a small supernet for an accuracy that is a sum of drawn tables."""

from functools import cache

import numpy as np
from small import made_once

from elastic.searching.search import search
from elastic.space.tables import choice_sum

MOBILENET = made_once("mobilenet")
SPACE = MOBILENET.space
PREDICTED = choice_sum(SPACE, [np.random.default_rng(0).normal(size=count) for count in SPACE.counts], 70.0)
SHORT = 8  # generations of an inner search


@cache
def limit():
    """MACs that half of the subnets have."""
    return float(np.median(MOBILENET.macs(SPACE.sample(0, 100))))


def score(arch):
    return {"accuracy": float(PREDICTED(SPACE.encode([arch]))[0])}


def predicted(algorithm, **options):
    given = {"minimize": ["macs"], "subject_to": {"macs": limit()}, "population": 12, "generations": 5, **options}
    return search(MOBILENET, predict={"accuracy": PREDICTED}, algorithm=algorithm, **given)


def measured(algorithm="linas", evaluate=score, **options):
    given = {"minimize": ["macs"], "subject_to": {"macs": limit()}, "population": 6, "generations": 4, **options}
    return search(MOBILENET, evaluate=evaluate, algorithm=algorithm, **given)
