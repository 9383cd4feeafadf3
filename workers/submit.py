"""Ray job submission: a job's config, models and options travel to a cluster as a bundle, and its driver runs there.

The bundle is a folder of plain files, and its digest names the submission: the same job submitted twice is one submission, and
one that failed, was stopped or lost its cluster is submitted again under the next number and goes on where it stopped, since
what it committed lies in the output. Credentials of storage travel as environment variables, named one by one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gridscribe import __version__
from gridscribe.canonical import sha256
from gridscribe.errors import GridscribeError, UsageError
from gridscribe.workers.running import RunRequest

CONFIG, REQUEST = "job.json", "request.json"
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
)  # fmt: skip
"""Variables that travel where they are set here; others are named by the caller."""
ENDED = "SUCCEEDED", "FAILED", "STOPPED"
POLL = 0.5
LARGEST = 500 << 20
"""Bytes of a bundle: Ray uploads it through its head."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Where a submission stands."""

    id: str
    status: str
    """Ray's: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    exit_code: int | None
    """Of the driver, as `gridscribe run` gives them: 0 done, 3 done with failures among the inputs, 1 stopped or failed."""
    message: str = ""
    created: bool = True
    """Whether it was submitted now; False: it was there already."""


def submit(
    request: RunRequest,
    address: str | None = None,
    *,
    env: Sequence[str] = (),
    wheel: Path | None = None,
    python: str | None = None,
    again: bool = False,
) -> Submission:
    """Submit a job to the cluster whose dashboard is at `address` (http://host:8265; None: RAY_API_SERVER_ADDRESS, RAY_ADDRESS).

    `env` names further variables of this process that travel; `wheel` is a wheel of gridscribe that is installed on the cluster
    for this job; `python` is the interpreter there (None: this one's path). A job that waits, runs or is done is not submitted
    again; with `again` one that is done is, since its inputs may have grown. Raises UsageError for inputs, outputs or models that
    no cluster could see, GridscribeError where there is none.
    """
    client = open_client(address)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder)
        name = write_bundle(request, bundle)
        latest, number = _latest(client, name)
        if latest is not None and (latest.status not in ENDED or (latest.status == "SUCCEEDED" and not again)):
            return replace(latest, created=False)
        environment = {key: os.environ[key] for key in CREDENTIALS if key in os.environ}
        for key in env:
            if key not in os.environ:
                raise UsageError(f"--env {key}: it is not set here")
            environment[key] = os.environ[key]
        runtime: dict[str, Any] = {"working_dir": str(bundle), "env_vars": environment}
        if wheel is not None:
            if wheel.suffix != ".whl" or not wheel.is_file():
                raise UsageError(f"--wheel {wheel}: no such wheel")
            runtime["py_modules"] = [str(wheel)]
        identifier = name if number == 0 else f"{name}-{number + 1}"
        _asked(
            lambda: client.submit_job(
                entrypoint=f"{python or sys.executable} -m gridscribe.workers.submitted",
                runtime_env=runtime,
                submission_id=identifier,
                metadata={"gridscribe": __version__, "output": request.output},
                entrypoint_num_cpus=0,  # the driver only waits: workers need the cores
            )
        )
    return Submission(identifier, "PENDING", None)


def wait(
    submission: str,
    address: str | None = None,
    *,
    say: Callable[[str], None] | None = None,
    timeout: float | None = None,
) -> Submission:
    """Wait for the end of a submission; `say` gets what its log adds meanwhile. GridscribeError after `timeout` seconds."""
    client, shown, started = open_client(address), 0, time.monotonic()
    while True:
        found = state(submission, address)
        if say is not None:
            log = _asked(lambda: client.get_job_logs(submission)) if found.status != "PENDING" else ""
            if len(log) > shown:
                say(log[shown:])
                shown = len(log)
        if found.status in ENDED:
            return found
        if timeout is not None and time.monotonic() - started > timeout:
            raise GridscribeError(f"submission {submission} is still {found.status} after {timeout:g} s")
        time.sleep(POLL)


def state(submission: str, address: str | None = None) -> Submission:
    """Where a submission stands; UsageError where the cluster knows none of that id."""
    found = _info(open_client(address), submission)
    if found is None:
        raise UsageError(f"submission {submission!r} is not known to the cluster")
    return found


def cancel(submission: str, address: str | None = None) -> Submission:
    """Stop a submission; what it committed stays, and submitted again it goes on. One that has ended is left as it is."""
    client = open_client(address)
    found = state(submission, address)
    if found.status in ENDED:
        return found
    _asked(lambda: client.stop_job(submission))
    return wait(submission, address, timeout=60)


def write_bundle(request: RunRequest, folder: Path) -> str:
    """Put down what travels, and return the name that its digest gives: `gridscribe-<16 hex>`.

    The config is written out in full, local models and an area of interest are copied beside it. Raises UsageError for inputs or
    outputs on this machine's disk given by a relative path, and for a bundle of more than 500 MB.
    """
    from mmengine.config import Config

    from gridscribe.pipelines.config import config_path, load_job

    load_job(request.job, request.overrides)  # says what is wrong with it here, and not on the cluster
    config = Config.fromfile(str(config_path(request.job)))
    config.merge_from_dict(dict(request.overrides))
    values = config.to_dict()
    for holder in (values, *(value for value in values.values() if isinstance(value, dict))):
        model = holder.get("model")
        if isinstance(model, str) and (Path(model).is_dir() or model.startswith(("/", "."))):
            holder["model"] = _travelling_model(Path(model), folder)
    for place in (*request.inputs, request.output):
        if "://" not in place and not Path(place).is_absolute():
            raise UsageError(
                f"{place}: a job elsewhere needs a URI (s3://...), or an absolute path that all its nodes share"
            )
    (folder / CONFIG).write_text(json.dumps(values, indent=1, sort_keys=True))
    aoi = None
    if request.aoi is not None:
        aoi = "area.geojson"
        shutil.copyfile(request.aoi, folder / aoi)
    asked = {
        **{key: value for key, value in asdict(request).items() if key not in ("job", "overrides", "aoi", "address")},
        "inputs": list(request.inputs),
        "aoi": aoi,
        "version": __version__,
    }
    (folder / REQUEST).write_text(json.dumps(asked, indent=1, sort_keys=True))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    if size > LARGEST:
        raise UsageError(
            f"the job's files are {size:,} bytes, {LARGEST:,} travel at most: put its model into object storage and name its URI"
        )
    digests = {str(path.relative_to(folder)): sha256(path.read_bytes()) for path in files}
    return f"gridscribe-{sha256(json.dumps(digests, sort_keys=True).encode())[:16]}"


def _travelling_model(model: Path, folder: Path) -> str:
    if not (model / "model.json").is_file():
        raise UsageError(f"model {model}: no folder with a model.json")
    name = f"models/{model.resolve().name}-{sha256((model / 'model.json').read_bytes())[:12]}"
    if not (folder / name).exists():
        shutil.copytree(model, folder / name)
    return name


def open_client(address: str | None) -> Any:
    """Ray's own client of submissions. GridscribeError, naming the address, where no cluster answers or it refuses the token."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    asked = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if not asked:
        raise UsageError("no cluster is named: give --address http://host:8265, or set RAY_API_SERVER_ADDRESS")
    try:
        return JobSubmissionClient(asked)
    except (ConnectionError, RuntimeError, ValueError, AuthenticationError) as error:
        raise GridscribeError(f"cannot reach a Ray cluster at {asked}: {_first_line(error)}") from error


def _latest(client: Any, name: str) -> tuple[Submission | None, int]:
    """The last submission of a job, and how many there were."""
    found = None
    for number, identifier in enumerate(_names(name)):
        one = _info(client, identifier)
        if one is None:
            return found, number
        found = one
    raise AssertionError


def _names(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _info(client: Any, submission: str) -> Submission | None:
    from ray.exceptions import AuthenticationError

    try:
        info = client.get_job_info(submission)
    except AuthenticationError as error:
        raise GridscribeError(f"the cluster refused: {_first_line(error)}") from error
    except RuntimeError as error:
        if "404" in str(error) or "does not exist" in str(error):
            return None
        raise GridscribeError(f"the cluster does not tell of submission {submission}: {_first_line(error)}") from error
    status = getattr(info.status, "value", str(info.status))
    return Submission(submission, status, info.driver_exit_code, info.message or "")


STARTING = 60.0
"""Seconds that a cluster which answers has to be able to take jobs."""


def _asked(call: Callable[[], Any]) -> Any:
    from ray.exceptions import AuthenticationError

    since = time.monotonic()
    while True:
        try:
            return call()
        except (ConnectionError, RuntimeError, AuthenticationError) as error:
            if "No available agent" not in str(error) or time.monotonic() - since > STARTING:
                raise GridscribeError(f"the cluster refused: {_first_line(error)}") from error
            time.sleep(1)  # a head answers some time before its agents do; nothing was begun


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def read_request(folder: Path) -> RunRequest:
    """The request of a bundle, as its driver runs it. UsageError where it was made by another version."""
    asked: Mapping[str, Any] = json.loads((folder / REQUEST).read_text())
    if asked["version"] != __version__:
        raise UsageError(
            f"this job was submitted by gridscribe {asked['version']}, {__version__} is installed here: install the same, or "
            "send a wheel along (--wheel)"
        )
    return RunRequest(
        job=str(folder / CONFIG),
        inputs=tuple(asked["inputs"]),
        output=asked["output"],
        executor=asked["executor"],
        workers=asked["workers"],
        aoi=None if asked["aoi"] is None else folder / asked["aoi"],
        retry_failed=asked["retry_failed"],
    )
