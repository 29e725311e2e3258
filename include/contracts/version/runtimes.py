"""What serves a version: what it was judged on, whatever the model's YAML says by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Runtime = Literal["torchserve", "native"]

#: What a YAML file or a candidate document means that names none, because it is from before there was a choice. Never
#: to be changed: such models would change what serves them without anybody having said so.
UNNAMED_RUNTIME: Runtime = "torchserve"

#: What the template for a new model says (docs/adding-a-model.md, which `make docs` writes), after the figures of
#: docs/performance.md; no model that is there goes by it.
RUNTIME_OF_NEW_MODELS: Runtime = "native"

#: Connections with which one machine and docker compose serve on a runtime, where that is not the default one.
LOCAL_CONNECTIONS: Mapping[Runtime, str] = {"native": "serving_native"}

#: ServingRuntimes of ``deploy/``, by ``serving.runtime``. InferenceServices name them.
SERVING_RUNTIMES = {"torchserve": "kubeflow-model-release", "native": "kubeflow-model-release-native"}


def cluster_runtime(named: str, runtime: str) -> str:
    """Return the ServingRuntime for a version that was judged on a runtime.

    :param named: that was asked for; one of the cluster's own stays.
    """
    return SERVING_RUNTIMES[runtime] if named in SERVING_RUNTIMES.values() else named


def served_on(settings: Mapping[str, Any], runtime: str | None) -> dict[str, Any]:
    """Return the ``serving`` section of a model's YAML for a version that was judged on a runtime.

    :param runtime: of its candidate document or its record; ``None``: none is chosen for its kind of model.
    """
    if runtime is None:
        return dict(settings)
    section = {**settings, "runtime": runtime}
    kserve = dict(settings.get("kserve") or {})
    if "runtime" in kserve:
        section["kserve"] = {**kserve, "runtime": cluster_runtime(kserve["runtime"], runtime)}
    return section
