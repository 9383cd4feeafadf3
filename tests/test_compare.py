"""The benchmark program: runs that resume, a table that says what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gridscribe.cli.compare import command
from gridscribe.errors import GridscribeError, UsageError
from gridscribe.ingest.scenes import write_scenes
from gridscribe.pipelines.benchmark_table import draw_curves, is_flat, markdown, summarise
from gridscribe.pipelines.compare import Budget, Run, compare, plan_runs


def result(strategy: str, seed: int, miou: float, curve: list[list[float]] | None = None) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "encoders": ["mit-b0"],
        "seed": seed,
        "metrics": {"miou": miou - 0.1, "miou_without_other": miou, "iou": {"other": 0.1, "road": miou}},
        "curve": curve or [[k, 1.0] for k in range(10)],
    }


def cost(strategy: str) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "encoders": ["mit-b0"],
        "parameters": 3_450_000,
        "gigaflops": 5.91,
        "windows_per_second": 21.0,
    }


def test_rows_are_means_with_their_spread_best_first() -> None:
    rows = summarise(
        [result("rgb", 0, 0.5), result("timf", 0, 0.7), result("timf", 1, 0.6), result("timf", 2, 0.8)],
        [cost("timf")],
    )
    assert [row["strategy"] for row in rows] == ["timf", "rgb"]
    best, other = rows
    assert best["miou_without_other"] == 0.7
    assert best["spread"] == 0.1
    assert best["iou"]["road"] == 0.7
    assert best["seeds"] == [0, 1, 2]
    assert best["windows_per_second"] == 21.0
    assert other["spread"] is None
    assert other["parameters"] is None
    text = markdown(rows)
    assert "| timf | mit-b0 | 0.700 ± 0.100 | 0.600 | 0.10 | 0.70 | 3.5 | 5.9 | 21.0 | 3 |" in text
    assert "small budget" not in text


def test_runs_too_short_to_be_logged_are_drawn_without_a_curve() -> None:
    short = {**result("rgb", 0, 0.5), "curve": []}
    for results in ([short], [short, result("timf", 0, 0.7)]):
        assert draw_curves(results).startswith(b"\x89PNG")


def test_a_class_that_no_image_shows_has_no_mean() -> None:
    one = result("rgb", 0, 0.5)
    one["metrics"]["iou"]["water"] = None
    (row,) = summarise([one])
    assert row["iou"] == {"other": 0.1, "road": 0.5, "water": None}
    assert "| 0.10 | 0.50 |  |" in markdown([row])


def test_curves_that_still_fall_are_said_to() -> None:
    falling = [[k, 2.0 - 0.15 * k] for k in range(10)]
    assert is_flat([[k, 1.0 - 0.001 * k] for k in range(10)])
    assert not is_flat(falling)
    assert not is_flat([[0, 1.0]])
    rows = summarise([result("rgb", 0, 0.5), result("timf", 0, 0.7, falling)])
    assert "At equal small budget" in markdown(rows)


def budget(folder: Path, **changes: Any) -> Budget:
    given = {
        "data": str(folder / "train"), "held_out": str(folder / "held"), "kind": "scenes", "steps": 2, "crop": 64,
        "batch": 2, "precision": "float32", "threads": 1,
    }  # fmt: skip
    return Budget(**{**given, **changes})


def test_runs_have_names_of_their_own_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    runs = plan_runs(["rgb", "timf"], [["mit-b0"], ["resnet18"]], range(2), budget(tmp_path))
    assert len({run.name for run in runs}) == len(runs) == 8
    assert [run.seed for run in runs] == [0] * 4 + [1] * 4
    longer = Run("rgb", ("mit-b0",), 0, budget(tmp_path, steps=3))
    assert longer.name != runs[0].name
    with pytest.raises(UsageError, match="vgg"):
        plan_runs(["rgb"], [["vgg"]], [0], budget(tmp_path))
    with pytest.raises(UsageError, match="nosuch"):
        plan_runs(["nosuch"], [["mit-b0"]], [0], budget(tmp_path))


def test_a_comparison_runs_resumes_and_prints_its_table(tmp_path: Path) -> None:
    write_scenes(tmp_path / "train", 2, 5, 96, 0.3)
    write_scenes(tmp_path / "held", 1, 6, 96, 0.3)
    arguments = ["--data", tmp_path / "train", "--held-out", tmp_path / "held", "--output", tmp_path / "out"]
    arguments += ["--strategies", "height early", "--seeds", 1, "--steps", 2, "--crop", 64, "--batch", 2]
    done = CliRunner().invoke(command, [str(a) for a in [*arguments, "--jobs", 2]])
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "out" / "runs").iterdir())
    assert len(files) == 2
    found = json.loads(files[0].read_text())
    assert found["images"] == {"train": 2, "held_out": 1}
    assert (tmp_path / "out" / "packages" / files[0].stem / "model.safetensors").is_file()
    assert 0 <= found["metrics"]["miou"] <= 1
    assert found["budget"]["precision"] == "float32"
    assert not (tmp_path / "out" / "work" / files[0].stem).exists()
    times = [file.stat().st_mtime_ns for file in files]
    again = CliRunner().invoke(command, [str(a) for a in [*arguments, "--json"]])
    assert [file.stat().st_mtime_ns for file in files] == times
    table = json.loads(again.stdout)
    assert {row["strategy"] for row in table["rows"]} == {"height", "early"}
    assert all(row["parameters"] > 3_000_000 and row["windows_per_second"] > 0 for row in table["rows"])
    assert "| early | mit-b0 |" in (tmp_path / "out" / "benchmark.md").read_text()
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000
    for file in files:
        file.unlink()  # the table holds all that is needed to go on
    another = ["rgb" if a == "height early" else a for a in arguments]
    more = CliRunner().invoke(command, [str(a) for a in another])
    assert more.exit_code == 0, more.output
    table = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert {row["strategy"] for row in table["rows"]} == {"height", "early", "rgb"}
    assert [path.name.split("_")[0] for path in (tmp_path / "out" / "runs").iterdir()] == ["rgb"]


@pytest.mark.soak
def test_a_run_that_fails_is_named_with_the_end_of_its_log_and_the_others_go_on(tmp_path: Path) -> None:
    write_scenes(tmp_path / "train", 1, 5, 96, 0.3)
    write_scenes(tmp_path / "held", 1, 6, 96, 0.3)
    broken = Run("rgb", ("mit-b0",), 0, budget(tmp_path, data=str(tmp_path / "nowhere")))
    sound = Run("rgb", ("mit-b0",), 0, budget(tmp_path))
    (_, error), (_, found) = compare([broken, sound], tmp_path / "out")
    assert isinstance(error, GridscribeError)
    assert re.search(rf"run {broken.name} failed .*(?s:.*)nowhere", str(error))
    assert found["strategy"] == "rgb"
    assert [path.stem for path in (tmp_path / "out" / "runs").iterdir()] == [sound.name]
