"""The ablation of the distillation's target: what each arm changes, runs that resume, a table of means and spreads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gridscribe.errors import GridscribeError, UsageError
from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.clip.package import load_alignment
from gridscribe.pipelines.alignment import ablation
from gridscribe.pipelines.alignment.ablation import ARMS, MEASURES, Budget, ablate, markdown, plan, series, summarise
from gridscribe.pipelines.alignment.training import load_alignment_config
from gridscribe.progress import Quiet
from tests.test_alignment_training import SMALL

OPTIONS = {
    **SMALL,
    "model.architecture.text_cfg.context_length": 48,
    "train_dataloader.collate_fn.context": 48,
    "train_dataloader.dataset.pixels": [40, 120],
}


def budget(folder: Path, **changes: Any) -> Budget:
    return Budget(
        **{"data": str(folder / "train"), "held_out": str(folder / "held"), "steps": 2, "threads": 1, **changes}
    )


def test_arms_change_the_distillation_and_nothing_else(tmp_path: Path) -> None:
    configs = {
        arm: load_alignment_config("stage1", data=tmp_path, work_dir=tmp_path, seed=1, cfg_options=changes).to_dict()
        for arm, changes in ARMS.items()
    }
    assert configs["patches"]["model"]["target"] == "patches"
    assert configs["cls"]["model"]["target"] == "cls"
    assert configs["none"]["model"]["weights"] == {"contrast": 1.0, "distil": 0.0}
    assert configs["shuffled"]["train_dataloader"]["dataset"]["shuffled"] is True
    plain = configs["patches"]
    for arm, config in configs.items():
        config["model"]["target"] = "patches"
        config["model"]["weights"] = plain["model"]["weights"]
        config["train_dataloader"]["dataset"].pop("shuffled", None)
        assert config == plain, arm


def test_runs_have_names_of_their_own(tmp_path: Path) -> None:
    runs = plan(["patches", "cls", "none"], range(2), budget(tmp_path))
    assert [run.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    longer = plan(["patches"], [0], budget(tmp_path, steps=3))
    assert len({run.name for run in (*runs, *longer)}) == 7
    with pytest.raises(UsageError, match="'tokens': must be one of patches, cls, none, shuffled"):
        plan(["tokens"], [0], budget(tmp_path))


def result(arm: str, seed: int, value: float | None, steps: int = 2) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for path in MEASURES.values():
        at = scores
        for key in path[:-1]:
            at = at.setdefault(key, {})
        at[path[-1]] = value
    return {"arm": arm, "seed": seed, "budget": {"steps": steps}, "scores": scores}


def test_rows_are_means_with_their_spread() -> None:
    rows = summarise(
        [
            result("none", 0, 0.1),
            result("patches", 0, 0.2),
            result("patches", 1, 0.4),
            result("patches", 0, 0.9, steps=5),
        ]
    )
    assert [(row["arm"], row["budget"]["steps"], row["seeds"]) for row in rows] == [
        ("patches", 2, [0, 1]),
        ("none", 2, [0]),
        ("patches", 5, [0]),
    ]
    assert rows[0]["mIoU"] == {"mean": 0.3, "spread": 0.1414}
    assert rows[1]["mIoU"] == {"mean": 0.1, "spread": None}
    assert "| patches | 2 | 0.300 ± 0.141 |" in markdown(rows)
    (empty,) = summarise([result("cls", 0, None)])
    assert "| cls | 2 |  |" in markdown([empty])


def test_a_series_runs_resumes_and_prints_its_table(tmp_path: Path) -> None:
    write_scenes(tmp_path / "train", 2, 5, 192, 0.25)
    write_scenes(tmp_path / "held", 1, 6, 192, 0.25)
    small = budget(tmp_path, options=OPTIONS, engine="torch")
    text = series(["none"], 1, small, tmp_path / "out", 1, Quiet())
    (file,) = (tmp_path / "out" / "runs").iterdir()
    found = json.loads(file.read_text())
    assert found["training"]["weights"] == {"contrast": 1.0, "distil": 0.0}
    assert 0 <= found["scores"]["classification"]["model"]["top1"] <= 1
    assert "colour histogram" not in found["scores"]["classification"]
    assert str(tmp_path) not in json.dumps(found["budget"])
    package = load_alignment(tmp_path / "out" / "packages" / file.stem)
    assert found["scores"]["model"]["digest"] == package.digest
    assert not (tmp_path / "out" / "work" / file.stem).exists()
    assert text == (tmp_path / "out" / "ablation.md").read_text()
    assert "| none | 2 | " in text
    file.unlink()  # the table holds all that is needed to go on

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a run that is there was run again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", never)
        assert series(["none"], 1, small, tmp_path / "out", 1, Quiet()) == text


def test_a_run_stopped_while_it_was_examined_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    import gridscribe.pipelines.alignment.evaluation as evaluation

    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "model.json").write_text("{}")
    package = SimpleNamespace(source={"training": {"steps": 2}})
    monkeypatch.setattr(ablation, "load_alignment", lambda _: package)
    scores = SimpleNamespace(to_json=lambda: {"model": 1})
    monkeypatch.setattr(evaluation, "evaluate_alignment", lambda *_: scores)
    (run,) = plan(["cls"], [4], budget(tmp_path))
    found = ablation.run_one(run, tmp_path)
    assert (found["arm"], found["seed"], found["scores"]) == ("cls", 4, {"model": 1})


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    write_scenes(tmp_path / "held", 1, 6, 96, 0.3)
    ((run, error),) = ablate(plan(["none"], [0], budget(tmp_path)), tmp_path / "out")
    assert isinstance(error, GridscribeError)
    assert f"run {run.name} failed" in str(error)
    assert str(tmp_path / "train") in str(error)
