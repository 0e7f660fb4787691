from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import pytest

from tests.cli.materials import THREADS, tomodist
from tomodist.cluster import open_session
from tomodist.errors import InputError
from tomodist.experiments import Report, run_experiment
from tomodist.experiments.edges import PARTS, Part, edges_experiment
from tomodist.experiments.sphere import Settings, sphere_experiment, sphere_figure

if TYPE_CHECKING:
    from pathlib import Path

F1 = "F1 within 2, shown part"
SMALL = Settings(size=56, snr=1.0, angles=tuple(float(a) for a in range(-50, 51, 4)), rounds=2)


def mean(report: Report, algorithm: str, measure: str, variant: str) -> float:
    (condition,) = report.names(algorithm, measure, "condition")
    return statistics.mean(report.values(algorithm, measure, variant, condition).values())


@pytest.fixture(scope="module")
def sphere(tmp_path_factory: pytest.TempPathFactory) -> Report:
    with open_session("threads") as session:
        folder = tmp_path_factory.mktemp("sphere")
        return run_experiment(session, sphere_experiment(2, SMALL), folder)


def test_every_round_is_more_precise_and_recalls_less_at_a_fixed_threshold(sphere: Report) -> None:
    rounds = ("plain", "1 round", "2 rounds")
    for within in (1, 2):
        precision = [mean(sphere, "T = tilts / 5", f"precision within {within}", v) for v in rounds]
        assert precision[0] + 0.02 < precision[1] < precision[2]
    recall = [mean(sphere, "T = tilts / 5", "recall within 2, shown part", v) for v in rounds]
    assert recall[0] > recall[1] > recall[2]
    voxels = [mean(sphere, "T = tilts / 5", "voxels", v) for v in rounds]
    assert voxels[0] > voxels[1] > voxels[2]


def test_the_sphere_is_found_where_tilts_show_it(sphere: Report) -> None:
    assert mean(sphere, "T from chords", F1, "plain") > 0.75
    assert mean(sphere, "T from chords", "F1 within 2, whole", "plain") < mean(
        sphere, "T from chords", F1, "plain"
    )
    assert mean(sphere, "T from chords", "surface distance, mean", "plain") < 3
    assert mean(sphere, "T from chords", F1, "plain") > mean(sphere, "T = tilts / 5", F1, "plain")


def test_the_figure_s_rounds_only_remove(sphere: Report) -> None:  # noqa: ARG001
    content = sphere_figure(SMALL)
    assert content.angles == [-38.0, -2.0, 38.0]
    for masks in content.found:
        for before, after in itertools.pairwise(masks):
            assert not np.any(after & ~before)
            assert np.any(before & ~after)
    for truth, shown in zip(content.truth, content.shown, strict=True):
        assert not np.any(shown & ~truth)
    assert 0.05 < np.mean(content.edges[0]) < 0.4


@pytest.mark.long
@pytest.mark.parametrize("part", PARTS)
def test_every_part_measures_its_variants(part: Part, tmp_path: Path) -> None:
    experiment = edges_experiment(part, 1, size=40, snrs=[1.0], steps=[5.0])
    with open_session("threads") as session:
        report = run_experiment(session, experiment, tmp_path)
    for algorithm, measure in report.tables:
        variants = report.names(algorithm, measure, "variant")
        assert experiment.baseline in variants
        values = {v: mean(report, algorithm, measure, v) for v in variants}
        assert all(0 <= value <= 1 for value in values.values())
        assert len(set(values.values())) > 2
    best = {"threshold": "no refinement"}.get(part, "edges")
    if part == "threshold":
        values = {v: mean(report, best, F1, v) for v in report.names(best, F1, "variant")}
        assert values["best (from the truth)"] == max(values.values())
        assert values["chords"] > values["reprojection IoU"]
    else:
        for variant in report.names(best, f"{F1}, best T", "variant"):
            chosen = mean(report, best, f"{F1}, T from chords", variant)
            assert chosen <= mean(report, best, f"{F1}, best T", variant)


def test_an_unknown_part_is_refused() -> None:
    wrong: Part = "colour"  # type: ignore[assignment]
    with pytest.raises(InputError, match="part is 'colour'; it must be one of refinement"):
        edges_experiment(wrong, 1)


def test_the_sphere_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--size", 48, "--angles", -50, 50, 10, "--rounds", 1, "--snr", 1)
    folder = tmp_path / "s"
    assert tomodist("experiment", "sphere", *small, "--seeds", 1, "-o", folder, *THREADS) == 0
    said = capsys.readouterr().out
    assert "T from chords: precision within 2" in said
    assert f"picture: {folder / 'sphere_figure.png'}" in said
    pixels = matplotlib.image.imread(folder / "sphere_figure.png")
    assert pixels[..., :3].std() > 0.2
    more = ("--size", 48, "--angles", -50, 50, 10, "--rounds", 2, "--snr", 1)
    assert tomodist("experiment", "sphere", *more, "--seeds", 1, "-o", folder, *THREADS) == 1
    assert "rounds was 1 and is 2" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sphere", "edges"])
def test_help_of_an_experiment_shows_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tomodist("experiment", name, "--help") == 0
    assert f"Example: tomodist experiment {name} " in " ".join(capsys.readouterr().out.split())
    assert tomodist("experiment", "--help") == 0
    assert f"  {name} " in capsys.readouterr().out
    assert tomodist("experiment", "nothing") == 2
