"""`gridscribe report`: counts that add up, every failure named, names from outside that stay harmless, areas, pace, samples."""

from __future__ import annotations

import base64
import io
import re
import shutil
import threading
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gridscribe.cli import cli
from gridscribe.errors import QueryError, UsageError
from gridscribe.manifest import write_failure, write_manifest, write_plan
from gridscribe.products import write_product
from gridscribe.report.accounts import LISTED
from gridscribe.report.markup import Markup, place, tag
from gridscribe.report.pace import BINS, IDLE, pace_of
from gridscribe.report.tally import Landing
from gridscribe.store import open_store
from gridscribe.workers.run import RunRequest, RunResult, run_job
from tests.outputs import product_json
from tests.tiny import MASKS_JOB, tiny_package, write_pair
from tests.tiny_document import letter, tiny_document

EVIL = "<img src=x onerror=alert(1)>&amp;\"'"
SCRIPT = "<script>alert(1)<"  # a folder: with the `script>` in it a path reads as a whole element
START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Page(HTMLParser):
    """A report taken apart: elements with attributes, text by element, rows of tables."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "elements that were left open"

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attrs)))
        if name not in ("meta", "img"):
            self._open.append(name)
        if name == "tr":
            self.rows.append([])
        if name in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attrs)))

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if self.rows and ("th" in self._open or "td" in self._open):
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        (found,) = (row for row in self.rows if row and row[0] == first)
        return found


def report(output: str | Path, tmp_path: Path, *argv: str) -> Page:
    file = tmp_path / "report.html"
    told = CliRunner().invoke(cli, ["report", str(output), "--to", str(file), *argv], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    text = file.read_text()
    page = Page(text)
    check_alone(page, text)
    return page


def check_alone(page: Page, text: str) -> None:
    """Nothing runs, and nothing is fetched."""
    assert {name for name, _ in page.elements} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "h1", "h2", "h3", "p", "div"),
        *("dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "code", "bdi", "a", "details"),
        *("summary", "svg", "g", "rect", "line", "text", "figure", "figcaption", "img"),
    }  # fmt: skip
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], (name, attributes)
        for key in ("src", "href", "xlink:href", "action", "srcset"):
            assert re.match(r"#|data:image/png;base64,", attributes.get(key) or "#"), (name, attributes)
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = (a["content"] for n, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert all(a.get("alt") for n, a in page.elements if n == "img")
    assert all(a.get("aria-label") for n, a in page.elements if n == "svg")


@pytest.fixture(scope="module")
def place_(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    tiny_package(folder / "model")
    inputs = folder / "in"
    for k in range(4):
        write_pair(
            inputs, f"t{k}", 150 + 10 * k, 200, seed=k, origin=(500_000 + 100 * k, 5_000_000), nodata_corner=20 * k
        )
    write_pair(inputs, EVIL, 120, 120, seed=8)
    write_pair(inputs / SCRIPT, "script>", 120, 120, seed=9)
    (inputs / f"cut{EVIL}_rgb.tif").write_bytes((inputs / "t0_rgb.tif").read_bytes()[:3000])
    shutil.copy(inputs / "t0_rgb.tif", inputs / "lonely_rgb.tif")
    (inputs / "notes.txt").write_text("no raster")
    return folder


@pytest.fixture(scope="module")
def done(place_: Path) -> RunResult:
    return run(place_, place_ / "out")


def run(place_: Path, out: Path, stop: threading.Event | None = None) -> RunResult:
    overrides = {"model": str(place_ / "model"), "bundle_pixels": 20_000}
    request = RunRequest(MASKS_JOB, (str(place_ / "in"),), str(out), executor="local", overrides=overrides)
    return run_job(request, stop=stop)


def test_counts_add_up_and_every_failure_and_skip_is_named_with_its_reason(
    place_: Path, done: RunResult, tmp_path: Path
) -> None:
    page = report(place_ / "out", tmp_path)
    assert (done.counts["done"], done.counts["skipped"], done.counts["failed"]) == (6, 1, 2)
    assert "9 inputs = 6 done + 1 skipped + 2 failed" in page.text
    assert "does not add up" not in page.text
    for failure in done.failures:
        assert page.row(failure["source"]) == [failure["source"], failure["error"], failure["reason"]]
    assert page.row(str(place_ / "in" / "notes.txt"))[1] == "format"
    assert page.row("segmentor")[1:3] == ["tiny-0", done_model(place_)]
    assert page.row("Precision")[1] in ("bfloat16", "float32")
    assert page.row("window")[1] == "64"
    assert page.row("Windows predicted")[1] == str(done.windows)
    assert any(row[0] == done.job and row[1] == "done" for row in page.rows if row)


def done_model(place_: Path) -> str:
    from gridscribe.models.package import load_package

    return load_package(str(place_ / "model")).digest


def test_names_from_outside_stay_text(place_: Path, done: RunResult, tmp_path: Path) -> None:
    page = report(place_ / "out", tmp_path, "--samples", "24")
    assert len([name for name, _ in page.elements if name == "img"]) == 6
    for name in (EVIL, f"{SCRIPT}/script>", f"cut{EVIL}"):
        assert f"{name}_rgb.tif" in page.text  # as it is: neither lost nor written twice escaped
    assert not [a for n, a in page.elements if n == "img" and a.get("src") == "x"]


def test_areas_are_those_of_the_masks(place_: Path, done: RunResult, tmp_path: Path) -> None:
    page = report(place_ / "out", tmp_path)
    counts = np.zeros(256, np.int64)
    for path in (place_ / "out" / "products" / done.product / "masks").glob("*.tif"):
        if path.name.count(".") == 1:
            with rasterio.open(path) as file:
                counts += np.bincount(file.read(1).ravel(), minlength=256)
    for value, name in enumerate(("other", "ground", "roof", "tree")):
        _, pixels, share, m2, _ = page.row(name)
        assert int(pixels.replace(",", "")) == counts[value]
        assert float(share.rstrip("%")) == pytest.approx(100 * counts[value] / counts[:4].sum(), abs=0.006)
        if counts[value] > 1000:
            # 0.2 m pixels of UTM on its central meridian, whose scale there is 0.9996
            assert float(m2.replace(",", "")) == pytest.approx(counts[value] * (0.2 / 0.9996) ** 2, rel=2e-3)
    assert counts[255] > 0
    assert int(page.row("no data")[1].replace(",", "")) == counts[255]
    assert int(page.row("all classes")[1].replace(",", "")) == counts[:4].sum()


def test_samples_show_the_input_or_say_why_not(place_: Path, done: RunResult, tmp_path: Path) -> None:
    out = place_ / "out"
    assert "Sample pictures" not in report(out, tmp_path, "--samples", "0").text
    shown = report(out, tmp_path, "--samples", "2")
    pictures = [a["src"] for n, a in shown.elements if n == "img"]
    assert len(pictures) == 2
    for source in pictures:
        assert source is not None
        assert Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).format == "PNG"
    moved = (place_ / "in").rename(place_ / "elsewhere")
    try:
        gone = report(out, tmp_path, "--samples", "2")
    finally:
        moved.rename(place_ / "in")
    assert not [name for name, _ in gone.elements if name == "img"]
    assert gone.text.count("No picture: ") == 2
    assert "9 inputs = 6 done" in gone.text


def test_an_open_job_says_what_is_left_and_what_failed_so_far(place_: Path, done: RunResult, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(place_ / "out", out)
    for path in out.glob("jobs/*/manifest*"):
        path.unlink()
    commits = sorted(path for path in out.glob("products/*/commits/*.json") if "regions" not in path.name)
    lost, kept = (re.findall(r'"image":"([^"]*)"', path.read_text())[0] for path in commits[:2])
    commits[0].unlink()
    store = open_store(out)
    page = report(out, tmp_path)
    assert "This job is open" in page.text
    assert "9 inputs = 5 done + 1 skipped + 2 failed + 1 left" in page.text
    record = {"error": "UnreadableError", "message": "its bytes are <gone>", "box": [0, 0, 1, 1]}
    write_failure(store, done.job, "x", 1, {**record, "item": "x", "image": lost, "source": "lost one"})
    write_failure(store, done.job, "y", 1, {**record, "item": "y", "image": kept, "source": "done after all"})
    page = report(out, tmp_path)
    assert page.row("lost one") == ["lost one", "UnreadableError", "its bytes are <gone>"]
    assert "done after all" not in page.text
    assert "9 inputs = 5 done + 1 skipped + 3 failed" in page.text
    assert "does not add up" not in page.text


def test_a_job_that_was_stopped_at_once_has_a_report(place_: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    stopped = run(place_, tmp_path / "out", stop)
    assert stopped.stopped
    page = report(tmp_path / "out", tmp_path)
    assert "9 inputs = 0 done + 1 skipped + 2 failed + 6 left" in page.text
    assert "Nothing is committed." in page.text


def test_on_object_storage_it_says_the_same(place_: Path, done: RunResult, s3_uri: str, tmp_path: Path) -> None:
    store = open_store(s3_uri)
    root = place_ / "out"
    for path in sorted(root.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(root).as_posix(), path)
    here, there = report(root, tmp_path), report(s3_uri, tmp_path)
    assert s3_uri in there.text
    for first in ("roof", "ground", "all classes", done.failures[0]["source"], "Items committed"):
        assert there.row(first) == here.row(first)
    assert [a for n, a in there.elements if n == "img"] == [a for n, a in here.elements if n == "img"]


def test_documents(tmp_path: Path) -> None:
    tiny_document(tmp_path / "model")
    (tmp_path / "docs").mkdir()
    for k in range(3):
        letter(f"page {k}\nTotal {k}0.00").save(tmp_path / "docs" / f"p{k}.png", dpi=(72, 72))
    (tmp_path / "docs" / f"broken{EVIL}.pdf").write_bytes(b"%PDF-1.4 no more")
    overrides = {"model": str(tmp_path / "model"), "inputs": {"dpi": 72.0}, "bundle_pages": 2}
    request = RunRequest("documents", (str(tmp_path / "docs"),), str(tmp_path / "out"), "local", overrides=overrides)
    result = run_job(request)
    page = report(tmp_path / "out", tmp_path, "--samples", "2")
    assert "4 inputs = 3 done + 0 skipped + 1 failed" in page.text
    assert page.row(str(tmp_path / "docs" / f"broken{EVIL}.pdf"))[1] == result.failures[0]["error"]
    assert page.row("Pages committed")[1] == "3"
    assert page.row("Crops encoded")[1] == str(result.windows)
    assert (
        0
        < int(page.row("Tokens kept")[1].replace(",", ""))
        < int(page.row("Tokens before pruning")[1].replace(",", ""))
    )
    assert "pages/min" in page.text
    (first, second) = (a for n, a in page.elements if n == "img")
    assert "text that was found" in (first["alt"] or "")
    assert first["src"] != second["src"]
    shutil.rmtree(tmp_path / "docs")
    assert report(tmp_path / "out", tmp_path).text.count("No picture: ") == 3


def planned(out: Path, accounts: list[dict[str, Any]], inputs: list[str], job: str = "j1", setting: int = 0) -> str:
    store = open_store(out)
    product = write_product(store, product_json(setting=setting))
    details = {
        "kind": "raster", "product": product, "inputs": inputs, "options": {}, "images": 0, "boxes": {}, "pixels": 0,
        "regions": False, "accounts": accounts, "planned": START.isoformat(),
    }  # fmt: skip
    write_plan(store, job, details, pa.table({"item": pa.array([], pa.string()), "parts": pa.array([], pa.string())}))
    return product


def test_long_lists_are_cut_at_a_stated_number(tmp_path: Path) -> None:
    rows = [
        {"source": f"tile{k:06}.tif", "state": "failed" if k % 3 else "skipped", "error": "E", "reason": f"because {k}"}
        for k in range(30_000)
    ]
    planned(tmp_path / "out", rows, ["in"])
    open_page = report(tmp_path / "out", tmp_path)
    table = pa.Table.from_pylist([{**row, "image": None, "item": None} for row in rows])
    manifest, _ = write_manifest(open_store(tmp_path / "out"), "j1", table, {"finished": START.isoformat()})
    done_page = report(tmp_path / "out", tmp_path)
    for page, rest in ((open_page, "jobs/j1/"), (done_page, manifest.tables[0].key)):
        assert "30,000 inputs = 0 done + 10,000 skipped + 20,000 failed" in page.text
        assert f"The first {LISTED} by name; {20_000 - LISTED:,} more stand in {rest}" in page.text
        assert len([row for row in page.rows if row and row[0].startswith("tile")]) == 2 * LISTED
        assert page.row("tile000001.tif") == ["tile000001.tif", "E", "because 1"]


def test_counts_that_do_not_add_up_are_told(tmp_path: Path) -> None:
    lost = [{"source": f"{k}", "state": "skipped", "error": "E", "reason": "r"} for k in range(3)]
    planned(tmp_path / "out", lost, ["in"])
    table = pa.Table.from_pylist([{**row, "image": None, "item": None} for row in lost[:2]])
    write_manifest(open_store(tmp_path / "out"), "j1", table, {"finished": START.isoformat()})
    assert "does not add up: the plan names 3 inputs, 2 are accounted for" in report(tmp_path / "out", tmp_path).text


def test_no_secret_of_a_uri_is_told(tmp_path: Path) -> None:
    uri = "https://user:hunter2@host.example/a.tif?X-Amz-Signature=hunter3&token=hunter4"
    rows = [{"source": uri, "state": "failed", "error": "E", "reason": f"cannot get {uri}: 403"}]
    planned(tmp_path / "out", rows, [uri, "s3://bucket/prefix"])
    page = report(tmp_path / "out", tmp_path)
    assert "host.example/a.tif" in page.text
    assert "s3://bucket/prefix" in page.text
    assert "hunter" not in (tmp_path / "report.html").read_text()


def test_what_cannot_be_reported(place_: Path, done: RunResult, tmp_path: Path) -> None:
    def error_of(*argv: str) -> str:
        told = CliRunner().invoke(cli, ["report", *argv, "--to", str(tmp_path / "r.html")])
        assert isinstance(told.exception, QueryError), told.output
        return str(told.exception)

    assert "holds no product: run a job" in error_of(str(tmp_path / "nothing"))
    out = str(place_ / "out")
    assert f"job 'zz': 0 of {out} match; it has {done.job}" in error_of(out, "--job", "zz")
    assert f"it has {done.product}" in error_of(out, "--product", "zz")
    one = planned(tmp_path / "two", [], ["in"])
    other = planned(tmp_path / "two", [], ["in"], "j2", 1)
    assert one in (told := error_of(str(tmp_path / "two")))
    assert other in told
    assert "leave one of them out" in error_of(str(tmp_path / "two"), "--job", "j1", "--product", other)
    assert not (tmp_path / "r.html").exists()
    told = CliRunner().invoke(cli, ["report", out, "--to", str(tmp_path / "no" / "r.html")])
    assert isinstance(told.exception, UsageError)
    assert "j2" not in report(tmp_path / "two", tmp_path, "--job", "j1").text


def test_text_is_escaped_where_it_goes_in_and_nowhere_else() -> None:
    assert tag("p", "<b>", tag("i", "&"), title='"<') == '<p title="&quot;&lt;">&lt;b&gt;<i>&amp;</i></p>'
    assert tag("p", Markup("<b>")) == "<p><b></p>"
    assert place("a<b") == '<bdi class="place">a&lt;b</bdi>'


minutes = st.integers(0, 60 * 24 * 30)


@given(st.lists(st.tuples(minutes, st.integers(1, 9)), max_size=80), st.lists(minutes, max_size=3))
def test_pace_counts_every_commit_once(landed: list[tuple[int, int]], begun: list[int]) -> None:
    landings = [Landing(START + timedelta(minutes=when), amount) for when, amount in landed]
    pace = pace_of(landings, [START + timedelta(minutes=when) for when in begun])
    assert pace.commits + pace.untimed == len(landings)
    assert sum(len(stretch.amounts) for stretch in pace.stretches) <= BINS + len(pace.stretches)
    told = sum(sum(stretch.amounts) for stretch in pace.stretches)
    assert told <= sum(amount for _, amount in landed)
    for before, after in zip(pace.stretches, pace.stretches[1:], strict=False):
        assert before.end < after.start
    inside = [one for one in landings if any(stretch.start <= one.time <= stretch.end for stretch in pace.stretches)]
    assert told >= sum(one.amount for one in inside) - sum(
        one.amount for one in inside if any(one.time == stretch.start for stretch in pace.stretches)
    )


def test_pace_by_hand() -> None:
    def at(minute: float) -> datetime:
        return START + timedelta(minutes=minute)

    steady = pace_of([Landing(at(k + 1), 2.0) for k in range(60)], [at(0)])
    (stretch,) = steady.stretches
    assert len(stretch.amounts) == 20
    assert steady.mean == pytest.approx(2.0)
    unknown = pace_of([Landing(at(1), 50.0), Landing(at(3), 4.0)], [at(500), at(-61)])
    assert (unknown.mean, unknown.untimed) == (pytest.approx(2.0), 1)  # the first one's own time is not known
    pause = IDLE.total_seconds() / 60 + 30
    twice = pace_of([Landing(at(m), 1.0) for m in (1, 2, 2 + pause, 3 + pause)], [at(0)])
    assert [sum(one.amounts) for one in twice.stretches] == [2.0, 1.0]
    assert twice.mean == pytest.approx(1.0)
    assert pace_of([Landing(at(1), 1.0)], []).mean is None
