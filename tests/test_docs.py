"""The documents: every command and every line of Python in them is run, in order, on what `docs/README.md` makes first."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from gridscribe.cli import COMMANDS, cli
from gridscribe.service.app import create_app
from gridscribe.service.settings import Settings
from tests.command_lines import Block, blocks, check_command, gridscribe_lines, shell_text

if TYPE_CHECKING:
    from tests.s3server import S3Server

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FIRST = DOCS / "README.md"
PAGES = [ROOT / "README.md", FIRST, *sorted(set(DOCS.glob("*.md")) - {FIRST}), ROOT / "deploy" / "README.md"]
KINDS = {"sh", "sh cluster", "sh long", "python", "text", "json"}
RUN = {"sh", "python"}
LIMIT = 240
"""Seconds for one document, on a machine that others use too."""
OTHERWISE = {"operations.md": {"scenes": "tiles"}}
"""Of pages that do not begin with all that `docs/README.md` makes: what they begin with, and which of it that is."""
NEVER = ("no class:", "no regions", "Traceback")
"""What no page shows its reader: a question whose answer is that there is none."""


def name_of(page: Path) -> str:
    """As people say it."""
    return str(page.relative_to(ROOT))


pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@dataclass(frozen=True)
class Ran:
    """What became of a page's blocks."""

    status: int
    log: str


def run_blocks(page: Path, folder: Path, found: list[Block], more: dict[str, str] | None = None) -> Ran:
    """Run blocks of a page in `folder`, in a process group that is gone afterwards, whatever it left running."""
    (folder / ".blocks.json").write_text(json.dumps([asdict(block) for block in found]))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GRIDSCRIBE_TOKEN", "AWS_"))}
    env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MPLBACKEND": "Agg", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(Path(__file__).with_name("doc_blocks.py")), ".blocks.json"]
    log = folder / ".log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env | (more or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # a service that a block started, and nobody else's
            process.wait(30)
    text = log.read_text(errors="replace")
    return Ran(status, f"{name_of(page)}: {'no end' if status == -1 else f'status {status}'}\n{text[-6000:]}")


def run_page(page: Path, made: Path, folder: Path, server: S3Server | None) -> Ran:
    """Run a page as its reader does who has what the first page made; with ports that are free, and a bucket that there is."""
    begins = OTHERWISE.get(page.name, {path.name: path.name for path in made.iterdir() if path.name[0] != "."})
    for name, source in begins.items():
        if (made / source).is_dir():
            shutil.copytree(made / source, folder / name)
        else:
            shutil.copy(made / source, folder / name)
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        instead = {"8080": str(one.getsockname()[1]), "8081": str(other.getsockname()[1])}
    found = to_run(page)
    if server is not None:
        instead["s3://bucket"] = bucket = f"s3://{server.bucket}/{uuid.uuid4().hex[:12]}"
        put = f"from gridscribe.store import open_store\nopen_store({bucket!r}).put('tiles.tar', Path('tiles.tar'))\n"
        found.insert(0, Block("python", 1, "from pathlib import Path\n" + put))
    for told, there in instead.items():
        found = [replace(block, text=block.text.replace(told, there)) for block in found]
    return run_blocks(page, folder, found, None if server is None else server.env())


def to_run(page: Path) -> list[Block]:
    """The blocks that are run."""
    return [block for block in blocks(page) if block.kind in RUN]


def buckets(page: Path) -> bool:
    """Whether what is run of a page names a bucket."""
    return any("s3://bucket" in block.text for block in to_run(page) if block.kind == "sh")


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[Ran]]]:
    """The first page's blocks, and then those of all pages that were asked for, two pages at a time: most of it is one program
    after the other that starts."""
    mine = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    named = [item for item in mine if item.originalname == test_every_block_runs.__name__]
    wanted: list[Path] = [item.callspec.params["page"] for item in named]
    made = tmp_path_factory.mktemp("docs")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run_blocks, FIRST, made, to_run(FIRST))
        futures = {FIRST: first}
        if first.result().status == 0:
            for page in wanted:
                server = request.getfixturevalue("s3_server") if buckets(page) else None
                if page != FIRST:
                    futures[page] = pool.submit(run_page, page, made, tmp_path_factory.mktemp(page.stem), server)
        yield futures
        pool.shutdown(cancel_futures=True)  # where a failure ends the run


@pytest.mark.timeout(2 * LIMIT + 120)
@pages
def test_every_block_runs(page: Path, running: dict[Path, Future[Ran]]) -> None:
    ran = running[page if page in running else FIRST].result()
    assert ran.status == 0, ran.log
    for words in NEVER:
        assert words not in ran.log, ran.log


@pages
def test_blocks_that_are_not_run_could_be(page: Path) -> None:
    """Their kinds are known, every `gridscribe` command parses, Python compiles, and targets of make are there."""
    for block in blocks(page):
        assert block.kind in KINDS, f"{name_of(page)}, line {block.line}: ```{block.kind}"
        if block.kind == "python":
            compile(block.text, name_of(page), "exec")
        elif block.kind == "json":
            json.loads(block.text)
    for words in gridscribe_lines(shell_text(page)):
        check_command(words)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([\w-]+)", shell_text(page), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name_of(page)}: make {target}"


@pages
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        assert not re.match(r"[a-z]+:", path), f"{name_of(page)}: {target} is elsewhere"
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(ROOT), f"{name_of(page)}: {target}"
        assert there.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{name_of(page)}: {target}"


def anchors(page: Path) -> set[str]:
    """What links may call the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_index_names_every_page() -> None:
    text = FIRST.read_text()
    for page in [*PAGES, DOCS / "tutorial.ipynb"]:
        if page not in (FIRST, ROOT / "README.md"):
            assert f"]({os.path.relpath(page, DOCS)})" in text, name_of(page)


def test_every_command_is_shown() -> None:
    shown = {words[0] for page in PAGES for words in gridscribe_lines(shell_text(page))}
    assert shown == set(COMMANDS)


def test_every_option_of_the_service_is_told() -> None:
    command = cli.get_command(click.Context(cli), "serve")
    assert command is not None
    text = (DOCS / "service.md").read_text()
    for param in command.params:
        if isinstance(param, click.Option) and param.name != "help":
            assert f"`{param.opts[0]}" in text, param.opts[0]


def test_every_route_of_the_service_is_told(tmp_path: Path) -> None:
    app = create_app(Settings(output=str(tmp_path)))._app  # type: ignore[attr-defined]
    text = (DOCS / "service.md").read_text()
    routes = set(app.openapi()["paths"])
    assert len(routes) > 20
    for route in routes:
        assert route in text, route


def test_a_block_that_fails_is_told_by_its_line(tmp_path: Path) -> None:
    """Nothing after it is run, and what it left running is ended."""
    page = DOCS / "batch.md"
    well = [
        Block("sh", 3, "export A=1\nsleep 600 &\necho $! > pid\n"),
        Block("python", 8, "import os\nb = 2\n"),
        Block("sh", 11, 'test "$A" = 1\ntouch reached\n'),
        Block("python", 20, "assert b == 2\n"),
    ]
    assert run_blocks(page, tmp_path, well).status == 0
    assert (tmp_path / "reached").exists()
    state = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    deadline = time.monotonic() + 10
    while (
        state.exists() and state.read_text().split()[2] != "Z"
    ):  # ended, though perhaps nobody has asked for its status yet
        assert time.monotonic() < deadline
        time.sleep(0.02)
    ran = run_blocks(page, tmp_path, [Block("sh", 7, "false | cat\n"), Block("sh", 9, "touch never\n")])
    assert ran.status == 1
    assert "the sh block at line 7 failed" in ran.log
    assert not (tmp_path / "never").exists()
    ran = run_blocks(page, tmp_path, [Block("python", 5, "x = 1\nassert x == 2\n")])
    assert ran.status == 1
    assert "line 6" in ran.log
