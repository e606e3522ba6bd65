import torch

from trainers import InPlaceDistiller, NoDistiller


def tensors():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    return logits, teacher, torch.randint(5, (6,), generator=generator)


def smoothed(logits, labels, smoothing):
    """Cross-entropy with smoothed labels, image by image and class by class."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        for k in range(len(row)):
            target = smoothing / len(row) + (1 - smoothing) * (k == label)
            total -= target * row.log_softmax(0)[k]
    return total / len(logits)


def test_the_largest_learns_from_smoothed_labels():
    logits, _, labels = tensors()
    torch.testing.assert_close(InPlaceDistiller(0.1).loss(logits, labels, None), smoothed(logits, labels, 0.1))


def test_the_others_learn_from_the_largest():
    logits, teacher, labels = tensors()
    obvious = -sum(p.softmax(0) @ q.log_softmax(0) for p, q in zip(teacher, logits, strict=True)) / 6
    torch.testing.assert_close(InPlaceDistiller().loss(logits, labels, teacher), obvious)


def test_no_distiller_ignores_the_teacher():
    logits, teacher, labels = tensors()
    for given in (None, teacher):
        torch.testing.assert_close(NoDistiller(0.2).loss(logits, labels, given), smoothed(logits, labels, 0.2))
