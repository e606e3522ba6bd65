"""Accuracy, by hand."""

import pytest
import torch
from torch import nn

from elastic.supernet.evaluation import accuracy, correctly_classified, top1

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.5]])
LABELS = torch.tensor([0, 2, 0, 0])


def test_an_example_is_classified_correctly_where_its_label_has_the_largest_logit():
    assert correctly_classified(LOGITS, LABELS).tolist() == [True, True, False, True]


def test_accuracy_counts_examples_and_not_batches():
    assert top1([(LOGITS, LABELS)]) == 75.0
    assert top1([(LOGITS[:3], LABELS[:3]), (LOGITS[3:], LABELS[3:])]) == 75.0
    assert accuracy(nn.Identity(), [(LOGITS[:1], LABELS[:1]), (LOGITS[1:], LABELS[1:])]) == 75.0


def test_no_images_have_no_accuracy():
    with pytest.raises(ValueError, match="no images; give it at least one labelled batch"):
        accuracy(nn.Identity(), [])


def test_a_logit_of_nan_classifies_nothing():
    broken = torch.full((4, 3), torch.nan)
    assert top1([(broken, torch.zeros(4, dtype=torch.int64))]) == 0.0
    masked = LOGITS.masked_fill(LOGITS == 0, -torch.inf)  # a class that is ruled out is no fault
    assert top1([(masked, LABELS)]) == 75.0
