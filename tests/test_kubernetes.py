"""deploy/kubernetes against the code: names, paths, ports, options, and what one file says of another.

Kubernetes' own schemas are asked in tests/cluster/test_kubernetes_schemas.py.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from indexer.__main__ import _NOT_PUBLISHED
from indexer.cli.parser import command_parser
from search_service.app import create_app
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from shared.errors import UsageError

_ROOT = Path(__file__).parents[1]
_DIRECTORY = _ROOT / "deploy" / "kubernetes"
_MANIFESTS: list[dict[str, Any]] = [
    one
    for path in sorted(_DIRECTORY.glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if one["kind"] != "Kustomization"
]
_KUSTOMIZATION = yaml.safe_load((_DIRECTORY / "kustomization.yaml").read_text(encoding="utf-8"))


def _of(kind: str) -> dict[str, Any]:
    [found] = [one for one in _MANIFESTS if one["kind"] == kind]
    return found


_DEPLOYMENT, _CRON_JOB, _RAY_JOB = (_of(kind)["spec"] for kind in ("Deployment", "CronJob", "RayJob"))
_SERVICE_POD = _DEPLOYMENT["template"]["spec"]
_INDEXER_POD = _CRON_JOB["jobTemplate"]["spec"]["template"]["spec"]
_CLUSTER = _RAY_JOB["rayClusterSpec"]
_RAY_PODS = [group["template"]["spec"] for group in (_CLUSTER["headGroupSpec"], *_CLUSTER["workerGroupSpecs"])]
_OURS = [_SERVICE_POD, _INDEXER_POD]


def _containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for pod in (*_OURS, *_RAY_PODS):
        [container] = pod["containers"]
        yield pod, container


def test_every_manifest_is_listed_or_one_of_the_operators() -> None:
    others = {"rayjob.yaml", "milvus.yaml", "kustomization.yaml"}
    assert {*_KUSTOMIZATION["resources"], *others} == {path.name for path in _DIRECTORY.glob("*.yaml")}
    readme = (_DIRECTORY / "README.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in readme for path in _DIRECTORY.iterdir() if path.name != "README.md")


@pytest.mark.parametrize(("pod", "container"), list(_containers()))
def test_pods_are_confined(pod, container) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    assert pod["enableServiceLinks"] is False, "variables of other services would be taken for settings"
    if pod in _OURS:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["automountServiceAccountToken"] is False


def test_our_pods_run_as_the_images_user() -> None:
    [(user, group)] = set(re.findall(r"^USER (\d+):(\d+)$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for pod in _OURS:
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (int(user), int(group))


def test_images_are_those_that_kustomization_replaces_and_of_one_version() -> None:
    images = {container["image"] for pod in _OURS for container in pod["containers"]}
    assert images == {one["name"] for one in _KUSTOMIZATION["images"]}
    tags = {one["newTag"] for one in _KUSTOMIZATION["images"]}
    [ray] = {container["image"] for pod in _RAY_PODS for container in pod["containers"]}
    assert {ray.rpartition(":")[2]} == tags


@pytest.mark.parametrize(("pod", "container"), list(_containers()))
def test_volumes_are_there_and_mounted_where_they_are_needed(pod, container) -> None:
    claims = {one["metadata"]["name"] for one in _MANIFESTS if one["kind"] == "PersistentVolumeClaim"}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    assert {
        volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "emptyDir" not in volume
    } == claims
    assert (mounts["data"]["mountPath"], mounts["catalogue"]["mountPath"]) == ("/data", "/catalogue")
    assert mounts["catalogue"]["readOnly"] is True
    assert mounts["data"].get("readOnly", False) is (pod is _SERVICE_POD)
    if pod in _OURS:
        assert mounts["tmp"]["mountPath"] == "/tmp"


def _app_paths() -> set[str]:
    def never(*_: object) -> NoReturn:
        raise AssertionError

    app = create_app(SnapshotWatcher(never, never), ServiceSettings(), Metrics(0.98))
    return {rule.rule for rule in app.url_map.iter_rules()}


def test_probes_ask_the_routes_that_are_meant_for_them() -> None:
    [container] = _SERVICE_POD["containers"]
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    # A pod that serves nothing yet, or no more, is not to be killed for it.
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["path"] for probe in probes.values()} <= _app_paths()
    [port] = container["ports"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    annotations = _DEPLOYMENT["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert annotations["prometheus.io/path"] in _app_paths()
    assert f"PARECIDO_PORT={port['containerPort']}" in (_ROOT / "Dockerfile").read_text(encoding="utf-8")
    [service_port] = _of("Service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]


def test_a_pod_has_time_to_answer_what_is_in_flight() -> None:
    [container] = _SERVICE_POD["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert _SERVICE_POD["terminationGracePeriodSeconds"] > pause + ServiceSettings().grace_s


def test_the_services_settings_exist_and_fit_its_cores() -> None:
    [container] = _SERVICE_POD["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "parecido-milvus", "optional": True}}]
    settings = {one["name"]: one["value"] for one in container["env"]}
    read = ServiceSettings.from_environment({**settings, "PARECIDO_DATA": "/data"})
    assert str(read.inference_threads) == container["resources"]["limits"]["cpu"]


def test_selectors_and_references_meet_their_targets() -> None:
    labels = _DEPLOYMENT["template"]["metadata"]["labels"]
    assert _DEPLOYMENT["selector"]["matchLabels"] == labels
    assert _of("Service")["spec"]["selector"] == labels
    assert _of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    scaler = _of("HorizontalPodAutoscaler")["spec"]
    target = scaler["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", _of("Deployment")["metadata"]["name"])
    assert "replicas" not in _DEPLOYMENT, "it would undo the autoscaler's at each apply"
    assert 1 < scaler["minReplicas"] < scaler["maxReplicas"]
    assert _of("PodDisruptionBudget")["spec"]["minAvailable"] < scaler["minReplicas"]


def test_the_indexers_command_is_taken_and_only_one_runs_at_a_time() -> None:
    [container] = _INDEXER_POD["containers"]
    options = command_parser().parse_args(container["args"])
    assert str(options.data) == "/data"
    assert options.catalogue.is_relative_to("/catalogue")
    assert str(options.workers) == container["resources"]["requests"]["cpu"]
    assert _CRON_JOB["concurrencyPolicy"] == "Forbid"
    job = _CRON_JOB["jobTemplate"]["spec"]
    [rule] = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [UsageError.exit_status, _NOT_PUBLISHED]
    assert rule["onExitCodes"]["containerName"] == container["name"]


# KubeRay: https://docs.ray.io/en/latest/cluster/kubernetes/getting-started/rayjob-quick-start.html


def test_the_ray_jobs_command_is_taken_and_workers_reach_what_it_names() -> None:
    command = shlex.split(_RAY_JOB["entrypoint"])
    assert command[:3] == ["python", "-m", "indexer"]
    options = command_parser().parse_args(command[3:])
    assert options.executor == "ray"
    assert not hasattr(options, "ray_address"), "the job's cluster is in RAY_ADDRESS"
    assert options.shards.is_relative_to("/data")
    assert options.catalogue.is_relative_to("/catalogue")


def test_the_ray_job_has_the_fields_of_ray_io_v1() -> None:
    job = _of("RayJob")
    assert job["apiVersion"] == "ray.io/v1"
    assert _RAY_JOB.keys() == {
        "entrypoint",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "backoffLimit",
        "rayClusterSpec",
    }
    assert _RAY_JOB["shutdownAfterJobFinishes"] is True
    assert type(_RAY_JOB["ttlSecondsAfterFinished"]) is int
    assert type(_RAY_JOB["backoffLimit"]) is int
    assert _CLUSTER.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert _CLUSTER["headGroupSpec"].keys() == {"rayStartParams", "template"}
    assert _CLUSTER["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}, "strings, and no worker beside the driver"
    for group in _CLUSTER["workerGroupSpecs"]:
        assert group.keys() == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for pod in _RAY_PODS:
        [container] = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"], "Ray counts the limits' cores"


def test_ray_has_one_version_everywhere() -> None:
    constraints = (_ROOT / "constraints.txt").read_text(encoding="utf-8")
    [pinned] = re.findall(r"^ray==(.+)$", constraints, re.MULTILINE)
    assert _CLUSTER["rayVersion"] == pinned
    dockerfile = (_DIRECTORY / "Dockerfile.ray").read_text(encoding="utf-8")
    assert f"FROM rayproject/ray:{pinned}-py311" in dockerfile
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()}
    assert all((_ROOT / name).exists() for name in copied)
    assert {"shared", "indexer"} < copied


# Milvus's operator: https://github.com/zilliztech/milvus-operator/blob/main/docs/CRD/milvus.md


def test_milvus_has_the_fields_of_milvus_io_v1beta1() -> None:
    milvus = _of("Milvus")
    assert milvus["apiVersion"] == "milvus.io/v1beta1"
    spec = milvus["spec"]
    assert spec.keys() == {"mode", "components", "dependencies", "config"}
    assert spec["mode"] == "cluster"
    components = dict(spec["components"])
    compose = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert components.pop("image") == compose["milvus"]["image"]
    [password] = components.pop("env")
    assert password["name"] in compose["milvus"]["environment"]
    assert password["valueFrom"]["secretKeyRef"] == {"name": "parecido-milvus", "key": "PARECIDO_MILVUS_PASSWORD"}
    assert components.keys() <= {"proxy", "queryNode", "dataNode", "mixCoord"}
    for component in components.values():
        assert component.keys() <= {"replicas", "resources"}
        assert type(component["replicas"]) is int
    for dependency in (spec["dependencies"]["etcd"], spec["dependencies"]["storage"]):
        assert dependency["inCluster"].keys() == {"deletionPolicy", "pvcDeletion", "values"}
        assert dependency["inCluster"]["deletionPolicy"] == "Retain", "the vectors would go with the resource"
        assert dependency["inCluster"]["pvcDeletion"] is False
    storage = spec["dependencies"]["storage"]
    assert storage["secretRef"] == storage["inCluster"]["values"]["existingSecret"]
    readme = (_DIRECTORY / "README.md").read_text(encoding="utf-8")
    assert all(f"secret generic {name} " in readme for name in (storage["secretRef"], "parecido-milvus"))
    assert spec["config"]["common"]["security"]["authorizationEnabled"] is True
