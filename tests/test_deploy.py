"""The files of deploy/: each against the schema or the parser of whoever reads it, and all against the code that they run."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import botocore.session
import click
import pytest
import yaml
from botocore.validate import ParamValidator

from gridscribe import __version__
from tests.command_lines import check_command, gridscribe_lines, shell_text
from tests.ray_cluster import RayCluster
from tests.tiny import MASKS_JOB, tiny_package, write_pair

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
CLUSTER = yaml.safe_load((DEPLOY / "cluster.yaml").read_text())
SCRIPT, RAYJOB = list(yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text()))
SERVE, SERVICE = list(yaml.safe_load_all((DEPLOY / "serve.yaml").read_text()))
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and line[0] != "#"
)
PAGES = [DEPLOY / "README.md", ROOT / "docs" / "operations.md", ROOT / "docs" / "security.md"]

# As KubeRay's reference of ray.io/v1 lists them, as far as they are of use here; a misspelt one would be dropped in silence.
RAYJOB_FIELDS = {
    "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata", "clusterSelector",
    "submitterConfig", "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode", "entrypointResources", "entrypointNumCpus",
    "entrypointNumGpus", "ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "suspend",
}  # fmt: skip
RAYCLUSTER_FIELDS = {
    "headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "authOptions",
    "headServiceAnnotations", "suspend",
}  # fmt: skip
GROUP_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template"}
HEAD_FIELDS = {"serviceType", "headService", "enableIngress", "rayStartParams", "template"}

HEAD = RAYJOB["spec"]["rayClusterSpec"]["headGroupSpec"]
(WORKERS,) = RAYJOB["spec"]["rayClusterSpec"]["workerGroupSpecs"]
PODS = {
    "submitter": RAYJOB["spec"]["submitterPodTemplate"]["spec"],
    "head": HEAD["template"]["spec"],
    "worker": WORKERS["template"]["spec"],
    "serve": SERVE["spec"]["template"]["spec"],
}
JOB_SH: str = SCRIPT["data"]["job.sh"]


def container(pod: str) -> dict[str, Any]:
    (one,) = PODS[pod]["containers"]
    return one


def ray_start(words: list[str]) -> dict[str, Any]:
    """Options of `ray start` as Ray itself parses them; fails for one that it has not."""
    from ray.scripts.scripts import start

    context = click.Context(start)
    found, rest, _ = start.make_parser(context).parse_args(words)
    assert not rest
    return found


def commands() -> list[tuple[str, list[str]]]:
    serve = container("serve")["command"]
    assert serve[0] == "gridscribe"
    texts = {"rayjob.yaml": JOB_SH, **{page.name: shell_text(page) for page in PAGES}}
    return [
        ("serve.yaml", serve[1:]),
        *((name, words) for name, text in texts.items() for words in gridscribe_lines(text)),
    ]


def test_every_command_line_is_one_of_gridscribe() -> None:
    found = commands()
    assert {name for name, _ in found} == {"serve.yaml", "rayjob.yaml", *(page.name for page in PAGES)}
    for _, words in found:
        check_command(words)


def test_the_checker_sees_what_is_wrong() -> None:
    for wrong in ("run raster --input a", "run raster --input a --output b --worker 3", "run raster x --input a --output b",
                  "run raster --input a --output b --workers many", "rum raster"):  # fmt: skip
        with pytest.raises((AssertionError, click.BadParameter)):
            check_command(wrong.split())
    with pytest.raises(click.NoSuchOption):
        ray_start(["--head", "--num-cpu=0"])


def test_the_cluster_is_one_for_rays_launcher() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(CLUSTER)
    validate_config(prepared)
    assert not any(prepared[name] for name in ("setup_commands", "head_setup_commands", "worker_setup_commands"))
    run = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    for name, kind in CLUSTER["available_node_types"].items():
        report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **kind["node_config"]}, run)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"


def test_the_cluster_starts_ray_as_gridscribe_needs_it() -> None:
    kinds = CLUSTER["available_node_types"]
    assert kinds["head"]["resources"]["CPU"] == 0  # or actors would sit on the node that drives them
    assert kinds["worker"]["min_workers"] == kinds["worker"]["max_workers"] == CLUSTER["max_workers"]
    assert (
        kinds["head"]["node_config"]["InstanceType"].split(".")[0]
        == kinds["worker"]["node_config"]["InstanceType"].split(".")[0]
    )
    head, worker = (
        ray_start(shlex.split(CLUSTER[f"{name}_start_ray_commands"][1].split("ray start")[1]))
        for name in ("head", "worker")
    )
    assert (head["head"], head["num_cpus"], head["dashboard_host"]) == (True, "0", "127.0.0.1")
    assert worker["address"] == f"$RAY_HEAD_IP:{head['port']}"
    home = re.search(r"HOME=(\S+)", CONTAINERFILE)
    assert home
    assert CLUSTER["file_mounts"] == {f"{home[1]}/.ray/auth_token": "~/.ray/auth_token"}
    assert "RAY_AUTH_MODE=token" in CONTAINERFILE  # Ray's launcher passes no environment on


def test_the_job_has_only_fields_that_kuberay_knows() -> None:
    spec = RAYJOB["spec"]
    assert (RAYJOB["apiVersion"], RAYJOB["kind"]) == ("ray.io/v1", "RayJob")
    assert set(spec) <= RAYJOB_FIELDS
    assert set(spec["rayClusterSpec"]) <= RAYCLUSTER_FIELDS
    assert set(HEAD) <= HEAD_FIELDS
    assert set(WORKERS) <= GROUP_FIELDS
    assert all(isinstance(value, str) for group in (HEAD, WORKERS) for value in group["rayStartParams"].values())
    for group in (HEAD, WORKERS):
        ray_start([f"--{name}={value}" for name, value in group["rayStartParams"].items()])


def test_the_job_comes_back_with_its_token_and_its_workers() -> None:
    spec = RAYJOB["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["backoffLimit"] > 0
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert str(spec["rayClusterSpec"]["rayVersion"]) == PINNED["ray"]
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    assert WORKERS["replicas"] == WORKERS["minReplicas"] == WORKERS["maxReplicas"]
    (words,) = gridscribe_lines(JOB_SH)
    asked = int(check_command(words)["workers"])
    assert asked % WORKERS["replicas"] == 0  # else some worker's share of cores fits on no node
    cores = int(container("worker")["resources"]["limits"]["cpu"])
    assert cores * WORKERS["replicas"] // asked <= cores
    assert (
        container("head")["envFrom"]
        == container("worker")["envFrom"]
        == [{"secretRef": {"name": "gridscribe-storage"}}]
    )


def test_the_entrypoint_is_the_script_that_is_mounted() -> None:
    shell, path = RAYJOB["spec"]["entrypoint"].split()
    assert re.fullmatch(
        r"[a-z]+ [/a-z.]+", RAYJOB["spec"]["entrypoint"]
    )  # the submitter's shell and Ray's both read it
    mount = {mount["mountPath"]: mount["name"] for mount in container("head")["volumeMounts"]}
    volume = {volume["name"]: volume for volume in PODS["head"]["volumes"]}
    folder, name = path.rsplit("/", 1)
    assert shell == "sh"
    assert volume[mount[folder]]["configMap"]["name"] == SCRIPT["metadata"]["name"]
    assert name in SCRIPT["data"]


@pytest.mark.parametrize(("status", "told"), [(0, 0), (1, 1), (2, 2), (3, 0)])
def test_another_attempt_is_made_only_where_it_can_help(tmp_path: Path, status: int, told: int) -> None:
    fake = tmp_path / "gridscribe"
    fake.write_text(f"#!/bin/sh\nexit {status}\n")
    fake.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", JOB_SH], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert done.returncode == told
    assert (b"some inputs failed" in done.stderr) == (status == 3)


@pytest.mark.soak
def test_a_job_runs_on_a_cluster_whose_head_has_no_cores(tmp_path: Path) -> None:
    """The script, submitted by the very words that KubeRay's submitter uses; one of its inputs is broken."""
    tiny_package(tmp_path / "model")
    for k in range(3):
        write_pair(tmp_path / "in", f"t{k}", 100 + k, 120, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    for name in ("bad_rgb.tif", "bad_ndsm.tif"):
        (tmp_path / "in" / name).write_bytes(b"II*\0" + bytes(40))
    script = JOB_SH
    for old, new in {
        "gridscribe run raster": f"{sys.executable} -m gridscribe run {MASKS_JOB} --cfg-options model={tmp_path / 'model'}",
        "s3://your-bucket/tiles.tar": str(tmp_path / "in"),
        "s3://your-bucket/out": str(tmp_path / "out"),
        "--workers 4": "--workers 1",
    }.items():
        assert script.count(old) == 1
        script = script.replace(old, new)
    (tmp_path / "job.sh").write_text(script)
    entrypoint = RAYJOB["spec"]["entrypoint"].replace("/etc/gridscribe", str(tmp_path))
    cluster = RayCluster(int(HEAD["rayStartParams"]["num-cpus"]))
    try:
        cluster.add(2)
        ray = Path(sys.executable).parent / "ray"
        done = subprocess.run(
            ["bash", "-c", f"{ray} job submit --address {cluster.address} --submission-id one -- {entrypoint} ;"],
            capture_output=True, text=True, check=False, timeout=240, env={"PATH": "/usr/bin:/bin", **cluster.env},
        )  # fmt: skip
    finally:
        cluster.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 images done" in done.stdout
    assert "done, but some inputs failed" in done.stdout
    assert "succeeded" in done.stdout


def test_images_are_one_image_of_this_version() -> None:
    images = {container(pod)["image"] for pod in PODS} | {CLUSTER["docker"]["image"]}
    assert len(images) == 1
    assert images.pop().rsplit("/", 1)[1] == f"gridscribe:{__version__}"
    assert f"--tag gridscribe:{__version__}" in CONTAINERFILE


def test_pods_are_bounded_and_no_root() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", CONTAINERFILE, re.MULTILINE)
    assert user
    assert int(user[1]) > 0
    for name, pod in PODS.items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == int(user[1]), name
        held = container(name)
        assert held["securityContext"]["allowPrivilegeEscalation"] is False, name
        assert held["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        assert {"cpu", "memory"} <= set(held["resources"]["requests"]), name
        assert "memory" in held["resources"]["limits"], name


def test_the_service_answers_its_probes_without_the_token(tmp_path: Path) -> None:
    from gridscribe.service.app import create_app
    from gridscribe.service.settings import Settings

    app = create_app(Settings(output=str(tmp_path), token="t" * 32))
    probes = [container("serve")[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["port"] for probe in probes} == {"http"}
    for path in {probe["path"] for probe in probes}:
        assert asyncio.run(_status(app, path)) == 200
    assert asyncio.run(_status(app, "/v1/products")) == 401


async def _status(app: Any, path: str) -> int:
    """The status of a GET, of an ASGI application that is called as a server would."""
    found: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    await app(scope, receive, send)
    return found[0]


def test_the_service_listens_where_it_is_asked_and_writes_to_scratch_alone() -> None:
    from gridscribe.service.serving import GRACE

    held, pod = container("serve"), PODS["serve"]
    found = check_command(held["command"][1:])
    assert found["host"] == "0.0.0.0"
    assert {port["containerPort"] for port in held["ports"]} == {int(found["port"])}
    assert SERVICE["spec"]["ports"][0]["targetPort"] == held["ports"][0]["name"]
    assert SERVICE["spec"]["selector"] == SERVE["spec"]["selector"]["matchLabels"]
    assert SERVE["spec"]["template"]["metadata"]["labels"].items() >= SERVICE["spec"]["selector"].items()
    assert held["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = [mount["mountPath"] for mount in held["volumeMounts"]]
    written = {one["name"]: one["value"] for one in held["env"] if "value" in one}
    assert {"GRIDSCRIBE_CACHE", "XDG_CACHE_HOME", "MPLCONFIGDIR"} == set(written)
    assert all(value.startswith(f"{mounts[0]}/") for value in written.values())
    waits = int(held["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + GRACE


def test_variables_are_ones_that_the_code_reads() -> None:
    rooms = ("gridscribe", "workers", "models", "pipelines", "ingest")
    code = "\n".join(path.read_text() for room in rooms for path in (ROOT / room).rglob("*.py"))
    texts = [path.read_text() for path in sorted(DEPLOY.iterdir())] + [page.read_text() for page in PAGES]
    names = set(re.findall(r"\b(?:GRIDSCRIBE|AWS)_[A-Z0-9_]+[A-Z0-9]\b", "\n".join(texts)))
    assert {"GRIDSCRIBE_TOKEN", "GRIDSCRIBE_CACHE", "AWS_ENDPOINT_URL"} <= names
    assert not {name for name in names if not re.search(rf"\b{name}\b", code)}


def test_the_container_is_made_of_what_is_here() -> None:
    text = CONTAINERFILE.replace("\\\n", " ")
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, target = line.split()
        assert all((ROOT / source).exists() for source in sources), line
        copied |= set(sources)
        assert target in ("./", *sources), line
    assert copied >= {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"]}
    assert copied >= set(PROJECT["tool"]["setuptools"]["package-dir"].values())
    (install,) = [line for line in text.splitlines() if "uv pip install" in line]
    words = install.split("uv pip install")[1].split()
    assert words[words.index("--constraint") + 1] == "constraints.txt"
    (project,) = [word for word in words if word.startswith(".")]
    extras = set(re.findall(r"[\w-]+", project.partition("[")[2]))
    assert extras == set(PROJECT["project"]["optional-dependencies"]) - {"test", "bench"}  # those are for developers
    assert "boto3" in words  # the launcher's head asks AWS for nodes
    assert PINNED["boto3"]
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert "/" not in base
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert "ENTRYPOINT" not in text  # Ray's launcher and KubeRay start shells in it


def test_nothing_holds_a_secret_or_a_host_of_this_machine() -> None:
    for path in [*sorted(DEPLOY.iterdir()), *PAGES]:
        text = path.read_text()
        assert not re.search(r"\b(AKIA|ASIA)[A-Z0-9]{12,}|-----BEGIN|\b[0-9a-f]{32,}\b|://[^/\s]+:[^/\s]+@", text), path
        assert "kind: Secret" not in text, path
        hosts = set(re.findall(r"\b(?:https?|s3)://([\w.-]+)", text))
        allowed = {
            "head",
            "your-bucket",
            "127.0.0.1",
            "localhost",
            "host",
            "in",
            "out",
            "service",
            "bucket",
            "gridscribe-serve",
        }
        assert hosts <= allowed, f"{path}: {hosts - allowed}"
