"""The loop: what is kept, what stops it, and that an interrupted run takes the same steps."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.learned.training.toys import squares
from tomodist.errors import InputError
from tomodist.learned.networks.build import seeded
from tomodist.learned.networks.device import use_threads
from tomodist.learned.networks.spec import Architecture
from tomodist.learned.training.examples import Pool
from tomodist.learned.training.loop import Score, Trained, train
from tomodist.learned.training.schedule import Schedule
from tomodist.learned.training.segment import SegmentJob
from tomodist.runtime.runner import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.learned.training.loop import Job

PLAN = Schedule(steps=30, every=10, batch=4, side=32, patience=10)


def run(
    checkpoint: Path | None = None,
    *,
    job: Job | None = None,
    plan: Schedule = PLAN,
    fingerprint: str = "a",
    progress: Silent | None = None,
) -> Trained:
    """Train on toy squares."""
    use_threads(1)
    examples = [squares(k) for k in range(6)]
    module = seeded(Architecture(options={"widths": (16, 16)}), 0)
    pool = Pool(examples[:4], 2**30, 0)
    return train(
        job or SegmentJob(plan, ("square",)),
        module,
        pool,
        examples[4:],
        plan,
        checkpoint=checkpoint,
        fingerprint=fingerprint,
        progress=progress,
    )


class CtrlC(Silent):
    """Presses Ctrl-C when a step is done."""

    def __init__(self, at: int) -> None:
        self.left = at

    def advance(self, bar: Any) -> None:  # noqa: ARG002
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class Scores(SegmentJob):
    """A job whose validations give scores that are known before."""

    def score(self, *_: Any) -> Score:
        given = [0.1, 0.7, 0.3, 0.2, 0.2, 0.2, 0.2]
        self.__dict__["n"] = self.__dict__.get("n", -1) + 1
        return Score(given[self.__dict__["n"]], {"thresholds": [0.5]})


def test_squares_are_learnt_in_thirty_steps() -> None:
    found = run()
    assert found.score.value > 0.6  # 0.75 in bfloat16 and in float32
    assert found.history[0]["loss"] > 1.3 * found.history[-1]["loss"]
    assert found.stopped == "steps"


@pytest.mark.parametrize("at", [13, 20])
def test_a_run_that_goes_on_takes_the_same_steps_bit_by_bit(tmp_path: Path, at: int) -> None:
    whole = run()
    first = run(tmp_path / "c.pt", progress=CtrlC(at))
    assert first.stopped == "interrupted"
    assert first.step <= at
    second = run(tmp_path / "c.pt")
    assert second.step == whole.step
    assert [h["score"] for h in second.history] == [h["score"] for h in whole.history]
    for name, weights in whole.weights.items():
        np.testing.assert_array_equal(second.weights[name], weights)


def test_ctrl_c_before_anything_was_judged_keeps_nothing_but_the_steps(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "c.pt", progress=CtrlC(4))
    assert run(tmp_path / "c.pt").score.value == run().score.value


def test_a_checkpoint_of_another_run_is_not_continued(tmp_path: Path) -> None:
    run(tmp_path / "c.pt", progress=CtrlC(20))
    longer = replace(PLAN, steps=10)
    found = run(tmp_path / "c.pt", plan=longer, fingerprint="b")
    assert [h["step"] for h in found.history] == [10]


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.pt").write_bytes(b"PK\x03\x04 nothing of use")
    with pytest.raises(InputError, match=r"c\.pt is damaged \(.*remove it"):
        run(tmp_path / "c.pt")


def test_the_best_network_is_kept_and_patience_ends_the_run() -> None:
    plan = replace(PLAN, steps=60, every=2, patience=2)
    found = run(job=Scores(plan, ("square",)), plan=plan)
    assert (found.step, found.score.value, found.stopped) == (4, 0.7, "patience")
    assert [h["score"] for h in found.history] == [0.1, 0.7, 0.3, 0.2]
    again = run(job=SegmentJob(plan, ("square",)), plan=replace(plan, patience=9))
    assert not np.array_equal(found.weights["head.weight"], again.weights["head.weight"])


def test_a_loss_that_is_not_finite_is_told_at_once() -> None:
    class Diverging(SegmentJob):
        def loss(self, module: Any, batch: dict[str, Any]) -> Any:
            return super().loss(module, batch) * float("nan")

    with pytest.raises(
        InputError, match="the loss of step 0 is nan; use a smaller `learning_rate`"
    ):
        run(job=Diverging(PLAN, ("square",)))
