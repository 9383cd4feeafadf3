"""Evaluation: the job's own masks, scored against slow counts; temperatures; whole data sets from layout to report."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from numpy.typing import NDArray
from rasterio.transform import Affine

from gridscribe.cli.evaluate import command
from gridscribe.cli.train import command as train_command
from gridscribe.errors import UsageError
from gridscribe.models.engines import EngineSpec, open_engine
from gridscribe.models.package import load_package, updated_package
from gridscribe.pipelines import evaluation
from gridscribe.pipelines.datasets import LabelledImage, Legend, find_labelled
from gridscribe.pipelines.evaluation import Evaluator, evaluate
from gridscribe.pipelines.scores import Scores, confusion
from gridscribe.values import Window
from gridscribe.workers.run import RunRequest, run_job
from tests.test_training import TINY, blocks
from tests.tiny import CLASSES, MASKS_JOB, tiny_package

LEGEND = Legend(tuple(c.name for c in CLASSES), tuple(c.color for c in CLASSES), ignored_in_mean=())


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path_factory.getbasetemp() / "graphs-of-evaluation"))


def write_image(folder: Path, name: str, shape: tuple[int, int], gsd: float, *, hole: bool = False) -> None:
    """Lively pixels and labels; `hole` leaves a corner without RGB, labelled all the same."""
    rng = np.random.default_rng(len(name))
    rows, cols = shape
    coarse = (rows // 9 + 1, cols // 9 + 1)
    rgb = rng.integers(1, 256, (3, *coarse)).repeat(9, 1).repeat(9, 2)[:, :rows, :cols].astype(np.uint8)
    height = rng.uniform(0, 20, coarse).repeat(9, 0).repeat(9, 1)[:rows, :cols].astype(np.float32)
    labels = rng.integers(0, len(CLASSES), coarse).repeat(9, 0).repeat(9, 1)[:rows, :cols].astype(np.uint8)
    labels[:3] = 255
    if hole:
        rgb[:, rows // 2 :, cols // 2 :] = 0
    place = {"crs": "EPSG:32631", "transform": Affine(gsd, 0, 5e5, 0, -gsd, 5e6), "height": rows, "width": cols}
    for part, bands, nodata in (("images", rgb, 0), ("heights", height[None], None), ("labels", labels[None], None)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        path = folder / part / f"{name}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=len(bands), dtype=bands.dtype, nodata=nodata, **place
        ) as file:
            file.write(bands)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    write_image(folder, "plain", (150, 210), 0.2)
    write_image(folder, "with-hole", (90, 130), 0.2, hole=True)
    write_image(folder, "too-coarse", (60, 70), 1.1)
    return folder


def find(data: Path) -> list[LabelledImage]:
    patterns = {"images": "images/*.tif", "heights": "heights/*.tif", "labels": "labels/*.tif"}
    return find_labelled("folder", data, legend=LEGEND, **patterns)


def test_evaluation_sees_the_masks_of_the_job(data: Path, tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "model")
    result = run_job(
        RunRequest(
            MASKS_JOB, (str(data),), str(tmp_path / "out"), executor="local",
            overrides={"model": str(tmp_path / "model"), "item_size": 512},
        )
    )  # fmt: skip
    assert result.counts["done"] == 3
    images = find(data)
    with Evaluator(package) as evaluator:
        scores = evaluator.score(images)
        wanted = np.zeros_like(scores.confusion)
        for image in images:
            (path,) = (tmp_path / "out").glob(f"products/*/masks/*{image.id}-????????.tif")
            with rasterio.open(path) as file:
                mask = file.read(1)
            assert len(np.unique(mask)) > 2
            np.testing.assert_array_equal(evaluator.mask(image), mask)
            box = Window(17, 30, 33, 25)
            np.testing.assert_array_equal(evaluator.mask(image, box), mask[box.slices()])
            with rasterio.open(data / "labels" / f"{image.id}.tif") as file:
                for label, found in zip(file.read(1).flat, mask.flat, strict=True):
                    if label != 255 and found != 255:
                        wanted[label, found] += 1
    assert np.array_equal(scores.confusion, wanted)
    assert scores.unpredicted == 45 * 65
    assert scores.to_json()["unpredicted_pixels"] == 45 * 65
    assert scores.calibration is not None
    assert scores.calibration.pixels.sum() == wanted.sum()


def test_scores_do_not_depend_on_the_bands_they_are_counted_in(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tiny_package(tmp_path / "model")
    whole = evaluate(package, find(data))
    monkeypatch.setattr(evaluation, "BAND", 17)
    banded = evaluate(package, find(data))
    assert banded.to_json() == whole.to_json()
    assert np.array_equal(banded.boundary, whole.boundary)
    assert whole.boundary.sum() > 0


def test_classes_of_other_data_are_refused(data: Path, tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "model")
    other = Legend(("a", "b", "c", "d"), LEGEND.palette)
    patterns = {"images": "images/*.tif", "heights": "heights/*.tif", "labels": "labels/*.tif"}
    images = find_labelled("folder", data, legend=other, **patterns)
    with pytest.raises(UsageError, match=r"masks of classes \['other', .*\['a', 'b', 'c', 'd'\]"):
        evaluate(package, images)
    with pytest.raises(UsageError, match="no image"):
        evaluate(package, [])


# --- temperature ---


def test_a_temperature_divides_logits_in_every_engine(tmp_path: Path) -> None:
    plain = tiny_package(tmp_path / "model")
    warm = updated_package(plain, tmp_path / "model", temperature=2.5)
    assert warm.digest != plain.digest
    assert load_package(tmp_path / "model").temperature == 2.5
    window = np.random.default_rng(0).uniform(0, 200, (1, 4, 64, 64)).astype(np.float32)
    for spec in (
        EngineSpec("torch", "cpu", "float32", 1, 64, 1),
        EngineSpec("openvino", "cpu", "float32", 1, 64, None),
    ):
        cold, found = (open_engine(spec, package).predict(window)[0] for package in (plain, warm))
        wanted = cold.astype(np.float64) ** (1 / 2.5)
        np.testing.assert_allclose(found, wanted / wanted.sum(axis=0), atol=2e-5)


@pytest.mark.parametrize("value", [0, -1, 1000, float("nan")])
def test_impossible_temperatures_are_refused(tmp_path: Path, value: float) -> None:
    package = tiny_package(tmp_path / "model")
    with pytest.raises(Exception, match="temperature is"):
        updated_package(package, tmp_path / "model", temperature=value)


def test_a_fitted_temperature_makes_confidences_honest(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "model")
    data, rng = tmp_path / "data", np.random.default_rng(0)
    engine = open_engine(EngineSpec("torch", "cpu", "float32", 1, 64, 1), package)
    for k in range(6):  # images of one window, labels drawn from the network's own answers at a temperature of 3
        write_image(data, "x" * (k + 1), (64, 64), 0.2)
        (image,) = (one for one in find(data) if one.id == "x" * (k + 1))
        scene = image.read()
        raw = np.concatenate([scene.rgb.astype(np.float32), scene.height[None].astype(np.float32)])
        chances = engine.predict(raw[None])[0].astype(np.float64) ** (1 / 3)
        steps = (chances / chances.sum(axis=0)).cumsum(axis=0)
        with rasterio.open(data / "labels" / f"{image.id}.tif", "r+") as file:
            file.write((rng.random((64, 64)) > steps[:-1]).sum(axis=0).astype(np.uint8), 1)
    images = find(data)
    with Evaluator(package) as evaluator:
        before, fitted = evaluator.score(images), evaluator.fit_temperature(images)
        assert evaluator.fit_temperature(images) == fitted == pytest.approx(3, rel=0.05)
    better = updated_package(package, tmp_path / "model", temperature=fitted)
    with Evaluator(better) as evaluator:
        after = evaluator.score(images)
        assert evaluator.fit_temperature(images) == pytest.approx(fitted, rel=0.01)
    assert before.calibration is not None
    assert after.calibration is not None
    assert after.calibration.error < 0.02 < 0.1 < before.calibration.error


# --- from a layout to a report ---


def write_gamus(root: Path, split: str, name: str, labels: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(len(name))
    rgb = np.clip(20 + 30.0 * labels[..., None] + rng.normal(0, 2, (*labels.shape, 3)), 0, 255).astype(np.uint8)
    for part, tail, array in (
        ("images", "RGB", rgb),
        ("heights", "AGL", (5.0 * labels).astype(np.float32)),
        ("classes", "CLS", labels),
    ):
        (root / part / split).mkdir(parents=True, exist_ok=True)
        with h5py.File(root / part / split / f"{name}_{tail}.h5", "w") as file:
            file["image"] = array


def test_a_gamus_folder_trains_evaluates_and_runs_without_code(tmp_path: Path) -> None:
    for split, names in (("train", "ab"), ("val", "c")):
        for k, name in enumerate(names):
            write_gamus(tmp_path / "GAMUS", split, name, blocks(k))
    tiny = [part for key, value in TINY.items() for part in ("--cfg-options", f"{key}={value!r}")]
    arguments = ["scenes", "--kind", "gamus", "--data", tmp_path / "GAMUS", "--held-out", tmp_path / "GAMUS"]
    arguments += ["--work-dir", tmp_path / "work", "--steps", 3, "--threads", 1, "--json", *tiny]
    from gridscribe.models.engines import malloc_environment

    trained = CliRunner().invoke(train_command, [str(a) for a in arguments], env=malloc_environment())
    assert trained.exit_code == 0, trained.output
    package = load_package(tmp_path / "work" / "package")
    assert package.training["data"] == {**package.training["data"], "kind": "gamus", "split": "train", "images": 2}
    assert package.metrics["images"] == 1
    where = ["--kind", "gamus", "--data", tmp_path / "GAMUS", "--output", tmp_path / "report", "--json"]
    done = CliRunner().invoke(command, [str(a) for a in [tmp_path / "work" / "package", *where]])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert {key: report[key] for key in package.metrics} == package.metrics
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text())["miou"] == report["miou"]
    assert "| building | " in (tmp_path / "report" / "evaluation.md").read_text()
    images = {p.name for p in (tmp_path / "report").iterdir()}
    assert images == {"evaluation.json", "evaluation.md", "evaluation.png", "samples.png"}
    result = run_job(
        RunRequest(
            MASKS_JOB, (str(tmp_path / "GAMUS"),), str(tmp_path / "out"), executor="local",
            overrides={"model": str(tmp_path / "work" / "package"), "inputs.gsd": 0.33},
        )
    )  # fmt: skip
    assert result.counts["done"] == 3
    assert not result.failures


def test_a_temperature_cannot_be_written_into_a_shipped_model(data: Path) -> None:
    done = CliRunner().invoke(command, ["scenes", "--data", str(data), "--fit-temperature"])
    assert isinstance(done.exception, UsageError)
    assert "'scenes' is not a folder with a model.json" in str(done.exception)


# --- sums ---


def test_confusion_counts_pixels_one_by_one() -> None:
    rng = np.random.default_rng(0)
    labels, mask = (rng.integers(0, 3, (9, 11)).astype(np.uint8) for _ in range(2))
    labels[2, 3:7] = 255
    mask[4, 2:5] = 255
    wanted = np.zeros((3, 3), np.int64)
    for label, found in zip(labels.flat, mask.flat, strict=True):
        if label != 255 and found != 255:
            wanted[label, found] += 1
    assert np.array_equal(confusion(labels, mask, 3), wanted)


def test_scores_by_hand() -> None:
    legend = Legend(("other", "a", "never"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), ignored_in_mean=(0,))
    scores = Scores(legend, images=1)
    scores.confusion += np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    assert scores.iou[:2].tolist() == [6 / 9, 3 / 6]
    assert np.isnan(scores.iou[2])
    assert scores.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.miou_without_other == 0.5
    assert scores.accuracy == 9 / 12
    found = scores.to_json()
    assert found["iou"] == {"other": 0.6667, "a": 0.5, "never": None}
    assert "ece" not in found
    assert "boundary_iou" not in found
