"""Engines: agreement with the reference, equal bits where they are promised, refusals, and the cache of graphs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gridscribe.errors import EngineError, UsageError
from gridscribe.models.engines import (
    EngineSpec,
    SharedEngine,
    engine_environment,
    malloc_environment,
    open_engine,
    resolve_engine,
)
from gridscribe.models.engines import openvino_engine as openvino_module
from gridscribe.models.engines.openvino_engine import has_bfloat16
from gridscribe.models.package import ModelPackage, build_network
from tests.tiny import tiny_package

torch.set_num_threads(1)
WINDOW = 64


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    return tiny_package(tmp_path_factory.mktemp("engines") / "model", window=WINDOW)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRIDSCRIBE_CACHE", str(folder))
        yield folder


def windows(count: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, WINDOW // 8, WINDOW // 8)).repeat(8, 2).repeat(8, 3)
    coarse[:, 3] /= 20
    coarse += rng.normal(0, 1, coarse.shape)
    coarse[:, :3] = coarse[:, :3].clip(0, 255)
    coarse[:, 3, 8:20, :30] = np.nan
    return coarse.astype(np.float32)


def spec(name: str, batch: int = 2, threads: int | None = None, precision: str = "float32") -> EngineSpec:
    return EngineSpec(name, "cpu", precision, batch, WINDOW, threads)  # type: ignore[arg-type]


def reference(package: ModelPackage, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """MMSegmentation's own modules, preprocessor and inference, in float32."""
    network = build_network(package, plain=True)
    with torch.no_grad():
        ready = network.data_preprocessor({"inputs": [torch.from_numpy(x) for x in batch]})["inputs"]
        logits = network.encode_decode(ready, [{"img_shape": torch.Size((WINDOW, WINDOW))}])
        return logits.softmax(1).numpy()


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_engines_agree_with_plain_mmsegmentation(package: ModelPackage, name: str) -> None:
    batch = windows(2)
    engine = open_engine(spec(name, threads=1), package)
    found, wanted = engine.predict(batch), reference(package, batch)
    assert found.dtype == np.float32
    assert found.shape == (2, len(package.classes), WINDOW, WINDOW)
    assert engine.num_classes == len(package.classes)
    assert len(np.unique(wanted.argmax(1))) > 1
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert (found.argmax(1) == wanted.argmax(1)).mean() >= 0.999
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_bfloat16_on_cpu_agrees(package: ModelPackage) -> None:
    batch = windows(1)
    found = open_engine(spec("torch", 1, 1, "bfloat16"), package).predict(batch)
    assert found.dtype == np.float32
    assert (found.argmax(1) == reference(package, batch).argmax(1)).mean() >= 0.97
    assert not np.array_equal(found, open_engine(spec("torch", 1, 1), package).predict(batch))


def test_openvino_bits_do_not_depend_on_place_neighbours_batch_or_threads(package: ModelPackage) -> None:
    many = windows(4)
    alone = open_engine(spec("openvino", 1), package, cores=1)
    wanted = [alone.predict(many[k : k + 1])[0] for k in range(4)]
    for batch, cores in ((1, 2), (1, 4), (2, 1), (2, 2), (4, 2), (4, 4)):
        engine = open_engine(spec("openvino", batch), package, cores=cores)
        for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 2, 2, 2], [1, 3, 0]):
            for first in range(0, len(order), batch):
                places = order[first : first + batch]
                for place, found in zip(places, engine.predict(many[places]), strict=True):
                    assert np.array_equal(found, wanted[place]), (batch, cores, order, place)


def test_short_batches_of_torch_are_padded_to_the_one_shape(package: ModelPackage) -> None:
    engine = open_engine(spec("torch", 3, threads=1), package)
    many = windows(3)
    wanted = engine.predict(many)
    for count in (1, 2):
        found = engine.predict(many[:count])
        assert found.shape[0] == count
        assert np.array_equal(found, wanted[:count])


def test_torch_repeats_its_bits_for_one_spec(package: ModelPackage) -> None:
    batch = windows(2)
    one, two = (open_engine(spec("torch", threads=1), package) for _ in range(2))
    first = one.predict(batch).copy()
    one.predict(windows(2, seed=9))
    assert np.array_equal(first, one.predict(batch))
    assert np.array_equal(first, two.predict(batch))


def test_answers_stay_the_callers(package: ModelPackage) -> None:
    for name in ("torch", "openvino"):
        engine = open_engine(spec(name, threads=1), package)
        batch = windows(2)
        kept = batch.copy()
        first = engine.predict(batch)
        copy = first.copy()
        second = engine.predict(windows(2, seed=3))
        assert np.array_equal(first, copy), name
        assert not np.array_equal(first, second)
        assert np.array_equal(batch, kept, equal_nan=True)
        first[:] = 0  # writable


def test_views_are_taken_as_they_are(package: ModelPackage) -> None:
    wide = np.ascontiguousarray(windows(4)[:, :, :, ::-1])
    for name in ("torch", "openvino"):
        engine = open_engine(spec(name, threads=1), package)
        assert np.array_equal(engine.predict(wide[::2, :, :, ::-1]), engine.predict(windows(4)[::2].copy()))


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_other_shapes_and_closed_engines_are_refused(package: ModelPackage, name: str) -> None:
    engine = open_engine(spec(name, threads=1), package)
    good = windows(2)
    for bad in (good[:0], windows(3), good[:, :3], good[..., :32], good[0], good.astype(np.float64)):
        with pytest.raises(EngineError, match=r"float32 of 1 to 2 windows \(4, 64, 64\)"):
            engine.predict(bad)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.predict(good)


def test_auto_is_openvino_without_cuda(package: ModelPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    import gridscribe.models.engines as engines

    monkeypatch.setattr(engines, "_torch_device", lambda: "cpu")
    for able, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(openvino_module, "has_bfloat16", lambda able=able: able)
        found = resolve_engine("auto", package)
        assert (found.name, found.device, found.precision) == ("openvino", "cpu", precision)
        assert (found.window, found.threads) == (WINDOW, None)
    assert resolve_engine("torch", package) == EngineSpec("torch", "cpu", "float32", 1, WINDOW, 2)
    assert resolve_engine("torch", package, threads=3, batch=5, window=128, precision="bfloat16") == EngineSpec(
        "torch", "cpu", "bfloat16", 5, 128, 3
    )
    monkeypatch.setattr(engines, "_torch_device", lambda: "cuda")
    assert resolve_engine("auto", package) == EngineSpec("torch", "cuda", "bfloat16", 16, WINDOW, None)
    assert resolve_engine("openvino", package).name == "openvino"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "tensorrt"}, "auto, torch, openvino"),
        ({"precision": "int8"}, "float32, bfloat16"),
        ({"batch": 0}, r"batch=0: must lie in 1\.\.256"),
        ({"threads": -1}, "threads=-1"),
        ({"window": 63}, r"window=63: .* patch \(4\)"),
    ],
)
def test_wishes_that_are_not_understood(package: ModelPackage, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_engine(**{"name": "openvino", "package": package, **options})


def test_an_engine_is_exactly_its_spec_or_refused(package: ModelPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="no CUDA device"):
            open_engine(EngineSpec("torch", "cuda", "bfloat16", 1, WINDOW, None), package)
    with pytest.raises(EngineError, match="fixed number of threads"):
        open_engine(spec("torch"), package)
    with pytest.raises(EngineError, match="'cuda'"):
        open_engine(EngineSpec("openvino", "cuda", "float32", 1, WINDOW, None), package)
    with pytest.raises(EngineError, match="'onnx'"):
        open_engine(spec("onnx"), package)
    monkeypatch.setattr(openvino_module, "has_bfloat16", lambda: False)
    with pytest.raises(EngineError, match="no bfloat16"):
        open_engine(spec("openvino", precision="bfloat16"), package)
    with pytest.raises(EngineError, match="use float32"):
        resolve_engine("openvino", package, precision="bfloat16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_bfloat16_agrees(package: ModelPackage) -> None:
    batch = windows(2)
    engine = open_engine(EngineSpec("torch", "cuda", "bfloat16", 2, WINDOW, None), package)
    assert (engine.predict(batch).argmax(1) == reference(package, batch).argmax(1)).mean() >= 0.97


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_openvino_bfloat16_agrees(package: ModelPackage) -> None:
    batch = windows(2)
    found = open_engine(spec("openvino", precision="bfloat16"), package).predict(batch)
    assert (found.argmax(1) == reference(package, batch).argmax(1)).mean() >= 0.97


def test_environment_is_for_torch_on_cpu_only() -> None:
    assert engine_environment(spec("torch", threads=1)) == malloc_environment()
    assert set(malloc_environment()) == {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "OMP_WAIT_POLICY"}
    assert engine_environment(spec("openvino")) == {}
    assert engine_environment(EngineSpec("torch", "cuda", "bfloat16", 1, WINDOW, None)) == {}


def test_openvino_reports_to_nobody() -> None:
    """Importing it starts a thread that sends, and conversion sends more, where `openvino_telemetry` can be imported."""
    program = (
        "import threading; from gridscribe.models.engines import openvino_engine; "
        "from openvino.tools.ovc import telemetry_utils; "
        "print(telemetry_utils.tm.__name__, [t.name for t in threading.enumerate()])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub ['MainThread']"


def test_a_cached_graph_starts_without_torch(package: ModelPackage, cache: Path) -> None:
    wanted = open_engine(spec("openvino", 1), package, cores=1).predict(windows(1))
    code = f"""
import sys
import numpy as np
from gridscribe.models.engines import EngineSpec, open_engine
from gridscribe.models.package import load_package
engine = open_engine(EngineSpec("openvino", "cpu", "float32", 1, {WINDOW}, None), load_package({package.uri!r}), cores=1)
np.save(sys.argv[2], engine.predict(np.load(sys.argv[1])))
sys.exit(3 * ("torch" in sys.modules or "mmseg" in sys.modules))
"""
    np.save(cache / "in.npy", windows(1))
    done = subprocess.run([sys.executable, "-c", code, cache / "in.npy", cache / "out.npy"], check=False, timeout=60)
    assert done.returncode == 0
    assert np.array_equal(np.load(cache / "out.npy"), wanted)


def test_damaged_graphs_are_made_again(
    package: ModelPackage, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = open_engine(spec("openvino", 1), package, cores=1).predict(windows(1))
    shutil.copytree(cache / "graphs", tmp_path / "graphs")
    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path))
    (graph,) = tmp_path.glob("graphs/*/graph.xml")
    graph.write_bytes(graph.read_bytes()[:500])
    assert np.array_equal(open_engine(spec("openvino", 1), package, cores=1).predict(windows(1)), wanted)
    assert [p.name for p in graph.parent.parent.iterdir()] == [graph.parent.name]


def test_racing_conversions_leave_one_graph(
    package: ModelPackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gridscribe.models.engines.graph_cache import cached_graph

    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path))

    def convert(path: Path) -> None:
        path.write_text("<net/>")
        path.with_suffix(".bin").write_bytes(b"weights")

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: cached_graph(package, 64, "1", convert), range(32)))
    assert len(found) == 1
    assert sorted(p.name for p in found.pop().parent.iterdir()) == ["graph.bin", "graph.xml"]
    assert len(list((tmp_path / "graphs").iterdir())) == 1
    other = cached_graph(package, 64, "2", convert)
    assert len(list((tmp_path / "graphs").iterdir())) == 2
    assert other == cached_graph(package, 64, "2", convert)


@pytest.mark.parametrize("batch", [1, 3])
def test_streams_of_several_threads_keep_their_order(package: ModelPackage, batch: int) -> None:
    many = list(windows(8))
    with SharedEngine(open_engine(spec("openvino", batch), package, cores=2)) as shared:
        wanted = [shared.submit([window]).result()[0] for window in many]
        orders = [[0, 1, 2, 3, 4, 5, 6], [7, 6, 5], [], [3] * 9]
        with ThreadPoolExecutor(4) as pool:
            for order, answers in zip(
                orders, pool.map(lambda o: list(shared.stream(many[k] for k in o)), orders), strict=True
            ):
                assert len(answers) == len(order)
                for k, answer in zip(order, answers, strict=True):
                    assert np.array_equal(answer, wanted[k])


def test_an_error_of_a_window_reaches_its_caller_and_no_other(package: ModelPackage) -> None:
    good = windows(1)[0]
    with SharedEngine(open_engine(spec("openvino", 1), package, cores=1)) as shared:
        answers = [shared.submit([window]) for window in (good, good[:, :8], good)]
        assert np.array_equal(answers[0].result(), answers[2].result())
        with pytest.raises(EngineError, match="float32 of 1 to 1 windows"):
            answers[1].result()
