"""Losses against plain NumPy, and that what is ignored has no part in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tomodist.learned.training.losses import dice_and_cross_entropy, focal


def reference(logits: np.ndarray, target: np.ndarray) -> float:
    """Dice over the batch and mean cross-entropy, in double precision."""
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    known, wanted = target != 2, target == 1
    entropy = -np.where(wanted, np.log(p), np.log(1 - p))[known].mean()
    dice = []
    for k in range(target.shape[1]):
        q, w = np.where(known[:, k], p[:, k], 0), wanted[:, k]
        dice.append(1 - (2 * q[w].sum() + 1) / (q.sum() + w.sum() + 1))
    return float(entropy + np.mean(dice))


@pytest.mark.parametrize("shape", [(3, 2, 9, 7), (2, 1, 5, 6, 7)])
def test_the_loss_is_that_of_slow_code(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=shape).astype(np.float32)
    target = random.integers(0, 3, shape).astype(np.uint8)
    found = dice_and_cross_entropy(torch.from_numpy(logits), torch.from_numpy(target))
    assert float(found) == pytest.approx(reference(logits, target), rel=1e-5)


def test_what_is_ignored_has_no_gradient() -> None:
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    target = torch.randint(0, 2, (2, 1, 8, 8), dtype=torch.uint8)
    target[:, :, :, 5:] = 2
    dice_and_cross_entropy(logits, target).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[..., 5:] == 0).all()
    assert (logits.grad[..., :5] != 0).all()


def test_a_perfect_answer_costs_nothing_and_an_empty_batch_is_no_trouble() -> None:
    target = torch.zeros(1, 2, 6, 6, dtype=torch.uint8)
    target[:, 0, 2:4] = 1
    perfect = (target.float() - 0.5) * 60
    assert float(dice_and_cross_entropy(perfect, target)) < 1e-6
    nothing = torch.full_like(target, 2)
    assert float(dice_and_cross_entropy(perfect, nothing)) == 0


def test_the_focal_loss_is_least_for_the_true_heat_map() -> None:
    heat = torch.zeros(1, 1, 9, 9)
    heat[0, 0, 4, 4], heat[0, 0, 4, 5] = 1, 0.6
    known = torch.ones(1, 1, 9, 9)
    good = torch.full((1, 1, 9, 9), -9.0)
    good[0, 0, 4, 4] = 9
    wrong = good.roll(3, dims=3)
    assert float(focal(good, heat, known)) < 0.05 < 5 < float(focal(wrong, heat, known))
    assert float(focal(wrong, heat, torch.zeros_like(known))) == 0
