"""deploy/kubernetes by Kubernetes' own schemas, strictly: an unknown field is an error."""

from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.ray

_DIRECTORY = Path(__file__).parents[2] / "deploy" / "kubernetes"
_VERSIONS = ("1.34", "1.37")
_OTHERS = ("ray.io/", "milvus.io/", "kustomize.config.k8s.io/")


def _manifests() -> list[Any]:
    found = []
    for path in sorted(_DIRECTORY.glob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if not one["apiVersion"].startswith(_OTHERS):
                found.append(pytest.param(one, id=f"{path.name} {one['kind']}"))
    return found


def _pods() -> list[Any]:
    """The pods of what is no kind of Kubernetes' own, as pods."""
    job = yaml.safe_load((_DIRECTORY / "rayjob.yaml").read_text(encoding="utf-8"))["spec"]["rayClusterSpec"]
    groups = [job["headGroupSpec"], *job["workerGroupSpecs"]]
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **group["template"]} for group in groups]
    return [pytest.param(pod, id=f"rayjob.yaml pod {number}") for number, pod in enumerate(pods)]


@pytest.mark.parametrize("version", _VERSIONS)
@pytest.mark.parametrize("manifest", [*_manifests(), *_pods()])
def test_a_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    import kubernetes_validate

    assert kubernetes_validate.validate(manifest, version, strict=True)


def test_a_wrong_manifest_is_not() -> None:
    import kubernetes_validate

    [deployment] = [one.values[0] for one in _manifests() if one.values[0]["kind"] == "Deployment"]
    wrong = deployment | {"spec": deployment["spec"] | {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, _VERSIONS[-1], strict=True)
