"""Fixtures that several test files share."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.s3server import S3Server


def _s3server() -> Any:
    # loaded by path: the tests are no package, and pytest's importlib mode puts nothing on sys.path
    name = "gridscribe_tests_s3server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("s3server.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server for the whole run (about 8 s to start); `env()` of it is what subprocesses need."""
    module = _s3server()
    with module.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_env(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, with its endpoint and credentials in this process's environment (and in that of subprocesses)."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def s3_uri(s3_env: S3Server) -> str:
    """An output URI on the S3 server that nothing else uses; the environment holds its credentials."""
    return f"s3://{s3_env.bucket}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with rasters and documents, regions, words and tokens (`tests.served`), which nobody changes."""
    from tests.served import make_output

    folder = tmp_path_factory.mktemp("everything")
    make_output(folder, str(folder / "out"))
    return folder / "out"


@pytest.fixture(params=["local", "s3"])
def output_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh output URI: once a local folder, once a prefix on the S3 server."""
    if request.param == "local":
        return str(tmp_path / "out")
    uri: str = request.getfixturevalue("s3_uri")
    return uri
