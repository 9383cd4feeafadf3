"""Documents jobs from beginning to end: accounting, resuming, equal bytes on every way, blank and broken pages, queries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import obstore
import pytest
from click.testing import CliRunner
from obstore.store import S3Store
from PIL import Image

from gridscribe import Client
from gridscribe.cli import cli
from gridscribe.client.documents import document_products, load_documents
from gridscribe.client.page_search import similarities
from gridscribe.client.page_words import PageWords
from gridscribe.errors import QueryError, UsageError
from gridscribe.gc import collect_garbage
from gridscribe.manifest import read_manifest, read_manifest_inputs
from gridscribe.models.document.encoder import open_page_encoder, resolve_page_engine
from gridscribe.models.document.package import gram_vectors, load_document_model
from gridscribe.models.document.spelling import token_vectors
from gridscribe.pipelines.documents.cropping import cut_page, page_crops
from gridscribe.status import job_statuses
from gridscribe.store import open_store
from gridscribe.token_reader import open_tokens
from gridscribe.workers.run import RunRequest, RunResult, dry_run_report, run_job
from tests.kills import commits, finish, kill_all, start, wait_for_commits, workers_of
from tests.s3server import S3Server
from tests.tiny import tree_bytes
from tests.tiny_document import TINY, letter, pdf_bytes, tiny_document

PAGES = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    tiny_document(folder / "model")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "a.pdf").write_bytes(pdf_bytes([letter(f"page {k}\nTotal {k}0.00") for k in range(4)]))
    letter("one picture", (300, 130)).save(docs / "b.png", dpi=(72, 72))
    frames = [letter("left"), letter("right", (150, 240))]
    frames[0].save(docs / "c.tif", save_all=True, append_images=frames[1:], dpi=(72, 72))
    Image.new("1", (230, 120), 1).save(docs / "white.png", dpi=(72, 72))
    (docs / "notes.txt").write_text("no page")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 no more")
    return folder


def request(place: Path, out: Path, executor: str = "local", **options: Any) -> RunRequest:
    overrides = {
        "model": str(place / "model"),
        "inputs": {"dpi": 72.0},
        "bundle_pages": 3,
        **options.pop("overrides", {}),
    }
    return RunRequest("documents", (str(place / "docs"),), str(out), executor=executor, overrides=overrides, **options)


def run(place: Path, out: Path, executor: str = "local", **options: Any) -> RunResult:
    return run_job(request(place, out, executor, **options))


@pytest.fixture(scope="module")
def done(place: Path) -> RunResult:
    return run(place, place / "out")


def test_every_page_is_accounted_for_and_a_second_run_writes_nothing(place: Path, done: RunResult) -> None:
    assert done.counts == {"images": PAGES, "done": PAGES, "skipped": 1, "failed": 1, "left": 0}
    assert "broken.pdf" in done.failures[0]["source"]
    before = tree_bytes(place / "out", ".")
    again = run(place, place / "out")
    assert again.nothing_to_do
    assert tree_bytes(place / "out", ".") == before
    store = open_store(place / "out")
    manifest = read_manifest(store, done.job)
    assert manifest is not None
    rows = read_manifest_inputs(store, manifest).to_pylist()
    names = {Path(row["source"]).name: row["state"] for row in rows}
    assert names == {
        "a.pdf#page=1": "done", "a.pdf#page=2": "done", "a.pdf#page=3": "done", "a.pdf#page=4": "done", "b.png": "done",
        "c.tif#page=1": "done", "c.tif#page=2": "done", "white.png": "done", "notes.txt": "skipped", "broken.pdf": "failed",
    }  # fmt: skip
    (status,) = job_statuses(store)
    assert (status.done, status.left, status.failed, status.state) == (PAGES, 0, 1, "done")
    assert status.pixels == status.pixels_done


def test_tokens_are_those_of_the_encoder_on_each_crop(place: Path, done: RunResult) -> None:
    """By the slow way: the page rendered here, cut, encoded by torch in float32; kept is what is text, at its own index."""
    run(place, place / "torch", overrides={"engine": {"name": "torch", "precision": "float32", "threads": 1}})
    package = load_document_model(place / "model")
    encoder = open_page_encoder(resolve_page_engine("torch", package, precision="float32", threads=1), package)
    page = np.asarray(letter("page 2\nTotal 20.00"))
    crops = page_crops(160, 220, 112, 64)
    assert (crops.rows, crops.cols) == (2, 2)
    found = [encoder.encode(crop) for crop in cut_page(_as_stored(place, page), crops)]
    dense = np.concatenate([np.concatenate(found[:2], axis=1), np.concatenate(found[2:], axis=1)])
    paper = token_vectors(gram_vectors(package), [-1])[0]
    cosine = dense @ paper / (np.linalg.norm(dense, axis=2) * np.linalg.norm(paper))
    text = 1 / (1 + np.exp(package.scale * cosine + package.bias)) >= 0.5
    assert 0.05 < text.mean() < 0.95
    client = Client(place / "torch")
    answer = client.page("a-pdf", 2)
    assert (answer.grid_h, answer.grid_w, answer.kept) == (32, 32, text.sum())
    unit = dense / np.linalg.norm(dense, axis=2, keepdims=True)
    for row, col in ((0, 0), (3, 9), (5, 20), (31, 31), (18, 16)):
        token = answer.at((col + 0.5) * 220 / 32, (row + 0.5) * 160 / 32)
        assert (token.index, token.row, token.col) == (row * 32 + col, row, col)
        assert (token.state == "kept") == text[row, col]
        if token.embedding is not None:
            np.testing.assert_allclose(token.embedding, unit[row, col], atol=0.01)
    with pytest.raises(QueryError, match="outside page 2"):
        answer.at(220.5, 10)


def _as_stored(place: Path, page: np.ndarray) -> np.ndarray:
    """The picture as the PDF holds it (JPEG)."""
    from gridscribe.ingest.pages.formats import render
    from gridscribe.ingest.pages.values import PageOptions

    stored = render(str(place / "docs" / "a.pdf"), 2, PageOptions(dpi=72.0))
    assert np.abs(stored.astype(int) - page).mean() < 4
    return stored


@pytest.mark.parametrize(("executor", "bundle"), [("local", 1), ("local", 100), ("ray", 3)])
def test_tokens_do_not_depend_on_executor_or_bundles(place: Path, done: RunResult, executor: str, bundle: int) -> None:
    out = place / f"{executor}-{bundle}"
    other = run(place, out, executor, overrides={"bundle_pages": bundle})
    assert other.product == done.product
    if bundle == 3:
        assert tree_bytes(out) == tree_bytes(place / "out")
        return
    for room in ("tokens", "images"):
        tables = []
        for root in (out, place / "out"):
            files = f"{root}/products/{done.product}/{room}/*.parquet"
            order = "image, page" + (', "index"' if room == "tokens" else "")
            tables.append(duckdb.sql(f"SELECT * FROM '{files}' ORDER BY {order}").fetchall())
        assert tables[0] == tables[1]
    masks = {name: data for name, data in tree_bytes(place / "out").items() if name.endswith(".png")}
    assert len(masks) == PAGES
    assert {name: data for name, data in tree_bytes(out).items() if name.endswith(".png")} == masks


def test_a_stopped_and_a_killed_job_go_on_and_end_with_the_same_bytes(place: Path, done: RunResult) -> None:
    out, stop = place / "stopped", threading.Event()

    class Stopping:
        def say(self, text: str) -> None: ...
        def start(self, total: int, unit: str) -> None: ...
        def finish(self) -> None: ...
        def advance(self, done: int, note: str = "") -> None:
            stop.set()

    first = run_job(request(place, out), Stopping(), stop)
    assert first.stopped
    assert first.counts["left"] > 0
    code = (
        "import os, sys\n"
        "from gridscribe.workers.run import RunRequest, run_job\n"
        "import gridscribe.pipelines.documents.pipeline as p\n"
        "real = p.commit_item\n"
        "def once(*a):\n"
        "    real(*a); os.kill(os.getpid(), 9)\n"
        "p.commit_item = once\n"
        "job, source, out, model = sys.argv[1:]\n"
        "o = {'model': model, 'inputs': {'dpi': 72.0}, 'bundle_pages': 1}\n"
        "run_job(RunRequest(job, (source,), out, executor='local', overrides=o))\n"
    )
    killed = place / "killed"
    for _ in range(2):  # a commit each, and no more
        argv = [sys.executable, "-c", code, "documents", str(place / "docs"), str(killed), str(place / "model")]
        assert subprocess.run(argv, check=False).returncode == -9
    committed = len(list(killed.glob("products/*/commits/*.json")))
    assert 2 <= committed <= 4  # another thread may be as far
    run(place, out)
    assert tree_bytes(out) == tree_bytes(place / "out")
    rest = run(place, killed, overrides={"bundle_pages": 1})
    assert rest.computed == PAGES - committed
    whole = place / "local-1"
    if not whole.exists():
        run(place, whole, overrides={"bundle_pages": 1})
    assert tree_bytes(killed) == tree_bytes(whole)


def test_a_killed_ray_worker_is_replaced_and_a_killed_driver_resumed(place: Path) -> None:
    docs = place / "letters"
    docs.mkdir()
    for k in range(40):
        letter(f"letter {k}\nTotal {k}", (400, 300)).save(docs / f"l{k:02}.png", dpi=(72, 72))
    told = [f"model={place / 'model'}", "inputs.dpi=72.0", "bundle_pages=1"]

    def command(out: Path, executor: str, workers: int) -> list[str]:
        options = [part for option in told for part in ("--cfg-options", option)]
        return [
            *(
                sys.executable,
                "-m",
                "gridscribe",
                "run",
                "documents",
                "--json",
                "--input",
                str(docs),
                "--output",
                str(out),
            ),
            *("--executor", executor, "--workers", str(workers), *options),
        ]

    finish(command(place / "letters-whole", "local", 1))
    whole = tree_bytes(place / "letters-whole")
    process = start(command(place / "letters-worker", "ray", 2))
    wait_for_commits(place / "letters-worker", 3, process)
    victims = workers_of(process.pid)
    assert victims, "no Ray worker found to kill"
    os.kill(victims[0], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["counts"]["done"] == 40
    assert tree_bytes(place / "letters-worker") == whole
    process = start(command(place / "letters-driver", "ray", 1))
    wait_for_commits(place / "letters-driver", 5, process)
    kill_all(process)
    left = commits(place / "letters-driver")
    assert 5 <= len(left) < 40
    again = finish(command(place / "letters-driver", "ray", 1))
    assert again["computed"] == 40 - len(left)
    assert tree_bytes(place / "letters-driver") == whole


def test_documents_from_s3_to_s3_give_the_same_objects(
    place: Path, done: RunResult, s3_env: S3Server, s3_uri: str
) -> None:
    bucket, _, prefix = s3_uri.removeprefix("s3://").partition("/")
    remote = S3Store(bucket, client_options={"allow_http": True}, virtual_hosted_style_request=False)
    for path in sorted((place / "docs").iterdir()):
        obstore.put(remote, f"{prefix}/in/{path.name}", path.read_bytes())
    options = {"model": str(place / "model"), "inputs": {"dpi": 72.0}, "bundle_pages": 3}
    ask = RunRequest("documents", (f"{s3_uri}/in/",), f"{s3_uri}/out", executor="local", overrides=options)
    found = run_job(ask)
    assert (found.counts, found.product) == (done.counts, done.product)
    store = open_store(f"{s3_uri}/out")
    masks = {Path(info.key).name: store.get(info.key) for info in store.list("products") if info.key.endswith(".png")}
    here = {Path(name).name: data for name, data in tree_bytes(place / "out").items() if name.endswith(".png")}
    assert sorted(masks.values()) == sorted(here.values())  # ids tell where a page came from, pixels do not
    (best, *_) = Client(f"{s3_uri}/out").match_pages("total 20")
    (wanted, *_) = Client(place / "out").match_pages("total 20")
    assert (best.score, best.box, best.page) == (wanted.score, wanted.box, wanted.page)
    assert run_job(ask).nothing_to_do


def test_thumbnails_are_pages_of_one_crop_with_a_grid_of_their_own(
    place: Path, done: RunResult, tmp_path: Path
) -> None:
    """By the slow way: the page resampled onto one crop, and that crop encoded; what is stored of the pages stays the same."""
    torch = {"name": "torch", "precision": "float32", "threads": 1}
    other = run(place, tmp_path / "out", overrides={"thumbnails": True, "engine": torch})
    plain = run(place, tmp_path / "plain", overrides={"engine": torch})
    assert other.product != plain.product
    package = load_document_model(place / "model")
    encoder = open_page_encoder(resolve_page_engine("torch", package, precision="float32", threads=1), package)
    client, without = Client(tmp_path / "out"), Client(tmp_path / "plain")
    page = np.asarray(Image.open(place / "docs" / "b.png").convert("RGB"))
    small = np.asarray(Image.fromarray(page).resize((112, 112), Image.Resampling.LANCZOS))
    dense = encoder.encode(small).reshape(256, -1)
    stored = client.page("b", 0).thumbnail()
    assert (stored.frame.grid_h, stored.frame.grid_w) == (16, 16)
    assert 0 < len(stored) < 256
    unit = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    np.testing.assert_allclose(stored.dense(), unit[stored.index], atol=0.01)
    corners = np.array(stored.frame.corners(255))  # the last cell ends where the page does
    np.testing.assert_allclose(corners.max(axis=0), [300, 130], atol=1e-6)
    for number in range(4):
        assert client.page("a-pdf", number).kept == without.page("a-pdf", number).kept
        assert client.page("a-pdf", number).match("total") != []
    assert [m.box for m in client.match_pages("total")] == [m.box for m in without.match_pages("total")]
    with pytest.raises(QueryError, match="stores no thumbnails"):
        without.page("b", 0).thumbnail()
    assert collect_garbage(open_store(tmp_path / "out")).removed == ()


def test_layers_that_the_model_has_not_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="layers 1 to 5, and model tiny-pages has 2"):
        run(place, tmp_path / "out", overrides={"tokens": {"within": {"keep": 0.5}}})


@pytest.mark.parametrize(
    "tokens",
    [
        {"pruner": {"method": "transition", "keep": 0.2, "block": 16}}, {"pruner": {"method": "correlation", "block": 16}},
        {"within": {"keep": 0.5, "first": 1, "last": 2}, "pruner": {"method": "ward", "keep": 0.1, "block": 16}},
        {"patches": {"method": "pixelprune", "tau": 8}, "pruner": {"method": "all"}},
    ],
)  # fmt: skip
def test_methods_of_a_config_are_run_and_searched(place: Path, tmp_path: Path, tokens: dict[str, Any]) -> None:
    result = run(place, tmp_path / "out", overrides={"tokens": tokens})
    assert result.counts["done"] == PAGES
    client = Client(tmp_path / "out")
    page = client.page("a-pdf", 1)
    assert 0 < page.kept < page.grid_h * page.grid_w
    assert page.match("total")
    if "pruner" in tokens and tokens["pruner"]["method"] in ("transition", "ward"):
        share = page.kept / (page.grid_h * page.grid_w)
        assert share == pytest.approx(tokens["pruner"]["keep"], abs=0.01)
    if tokens["pruner"]["method"] in (
        "correlation",
        "ward",
    ):  # a cell that was absorbed is asked by the vector that stands for it
        assert page.at(100, 100).state in ("kept", "merged")
        index = load_documents(
            open_store(tmp_path / "out"), next(iter(document_products(open_store(tmp_path / "out")).values()))
        )
        stored = index.page("a-pdf", 1)
        store = open_store(tmp_path / "out")
        table, read = open_tokens(store, stored.tokens.key, stored.tokens.size)
        dense, held = table.grid(read, stored.row).scatter()
        query = PageWords().query(index.product, "total")
        assert held.all()
        wanted = np.einsum("nd,hwd->nhw", query.vectors, dense)
        np.testing.assert_allclose(similarities(store, stored, query), wanted, atol=1e-4)


def test_a_blank_page_has_a_row_and_no_token(place: Path, done: RunResult, tmp_path: Path) -> None:
    """With a model to which nothing is text, every page is blank: no special case anywhere."""
    tiny_document(place / "blank-model", bias=60.0)
    result = run(place, tmp_path / "out", overrides={"model": str(place / "blank-model")})
    assert result.counts["done"] == PAGES
    client = Client(tmp_path / "out")
    page = client.page("white", 0)
    assert (page.kept, "blank" in page.flags) == (0, True)
    assert page.at(3, 3).state == "dropped"
    assert page.match("total") == []
    assert list(client.match_pages("total")) == []
    (mask,) = (tmp_path / "out").glob("products/*/pages/white-*.text.png")
    assert not np.asarray(Image.open(mask)).any()
    assert Image.open(mask).size == (230, 120)


def test_a_broken_page_loses_nothing_else(place: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    letter("whole").save(docs / "a.png")
    data = bytearray((docs / "a.png").read_bytes())
    (docs / "b.png").write_bytes(data[: len(data) // 2])
    letter("good").save(docs / "c.png")
    options = {"model": str(place / "model"), "inputs": {"dpi": 72.0}}
    ask = RunRequest("documents", (str(docs),), str(tmp_path / "out"), executor="local", overrides=options)
    result = run_job(ask)
    assert (result.counts["done"], result.counts["failed"]) == (2, 1)
    assert "b.png" in result.failures[0]["source"]
    assert result.failures[0]["error"] == "UnreadableError"
    assert run_job(ask).nothing_to_do


def test_matches_of_pages_and_of_the_archive(place: Path, done: RunResult) -> None:
    client = Client(place / "out")
    assert client.asks_pages()
    found = list(client.match_pages("total 20", top_k=3))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len({(one.document, one.page) for one in found}) == 3
    every = list(client.match_pages("total 20", top_k=100))
    assert [(one.document, one.page) for one in every[:3]] == [(one.document, one.page) for one in found]
    for one in every:  # by its own page the same place
        (best,) = client.page(one.document, one.page).match("total 20", top_k=1)
        assert best == one
        x0, y0, x1, y1 = one.box
        page = client.page(one.document, one.page)
        assert 0 <= x0 < x1 <= page.width
        assert 0 <= y0 < y1 <= page.height
    with pytest.raises(QueryError, match="is empty"):
        client.match_pages(" ")
    with pytest.raises(QueryError, match="has no document 'zzz'"):
        client.page("zzz", 0)
    with pytest.raises(QueryError, match="committed are 4, 0 to 3"):
        client.page("a-pdf", 4)
    tiny_document(place / "other-model", seed=5)
    with pytest.raises(QueryError, match="vectors of different models are not compared"):
        Client(place / "out", alignment=place / "other-model").page("a-pdf", 0).match("total")


def test_the_commands(place: Path, done: RunResult, tmp_path: Path) -> None:
    out, runner = str(place / "out"), CliRunner()

    def say(*argv: str) -> str:
        told = runner.invoke(cli, list(argv))
        assert told.exit_code == 0, told.output
        return told.stdout

    matches = json.loads(say("match", out, "total", "--top-k", "2", "--json"))["matches"]
    assert len(matches) == 2
    picture = tmp_path / "p.png"
    say("page", out, "a-pdf", "1", "total", "--picture", str(picture))
    assert Image.open(picture).size == (220, 186)
    assert "tokens kept" in say("page", out, "a-pdf", "1")
    assert json.loads(say("page", out, "a-pdf", "1", "--at", "20", "20", "--json"))["index"] >= 0
    for argv in (["match", out, "x", "--bbox", "0", "0", "1", "1"], ["page", out, "a-pdf", "1", "x", "--at", "1", "1"]):
        told = runner.invoke(cli, argv)
        assert isinstance(told.exception, UsageError)
    assert "of documents" in str(runner.invoke(cli, ["picture", out, str(tmp_path / "q.png")]).exception)
    say("catalog", out)
    say("gc", out)


def test_dry_run_and_what_cannot_be_asked(place: Path, tmp_path: Path) -> None:
    told = dry_run_report(request(place, tmp_path / "o"))
    assert (told["images"], told["items_left"]) == (PAGES, told["items"])
    assert not (tmp_path / "o").exists()
    for overrides, words in (
        ({"inputs": {"dpi": 300.0}}, "reads pages of 72 dots per inch"),
        ({"tokens": {"pruner": {"method": "nodata"}}}, "works before the encoder"),
        ({"nonsense": 1}, "unknown key 'nonsense'"),
        ({"max_crops": 0}, "max_crops"),
    ):
        with pytest.raises(UsageError, match=words):
            run(place, tmp_path / "o", overrides=overrides)
    with pytest.raises(UsageError, match="nowhere on Earth"):
        run(place, tmp_path / "o", aoi=tmp_path / "a.geojson")
    assert TINY.cell == 7
