"""What is run against a cluster, and what each of it needs there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_PYTEST = ("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider")
_STORIES = "tests/real/stories"
_RELEASES = (*_PYTEST, f"{_STORIES}/test_releases.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the table.

    :param name: what ``--only`` takes.
    :param about: what it shows.
    :param needs: names of facts (``facts.py``) that must hold.
    :param command: arguments of this half's interpreter; ``{report}`` is the folder of the report.
    :param environment: what is set for it besides what the caller has set.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def _releases(name: str, about: str, *needs: str, **environment: str) -> Part:
    return Part(name=name, about=about, needs=("kserve", *needs), command=_RELEASES, environment=environment)


PARTS = (
    Part(
        name="kubeflow-api",
        about="the oddities of the API that the hook allows for",
        needs=("kubeflow",),
        command=(*_PYTEST, "tests/doubles/kfp_server_tests", "-k", "real and not real_one"),
    ),
    Part(
        name="kubeflow-contract",
        about="what every pipeline service promises",
        needs=("kubeflow",),
        command=(*_PYTEST, "tests/contract/test_pipeline_service.py", "-k", "kubeflow_for_real"),
    ),
    Part(
        name="kubeflow-recorded",
        about="answers recorded for tests/captured",
        needs=("kubeflow", "token"),
        command=("-m", "tests.capture", "kubeflow_pipelines", "--into", "{report}/captured/kubeflow_pipelines"),
    ),
    Part(
        name="kubeflow-login",
        about="user and password, through Dex",
        needs=("login",),
        command=(*_PYTEST, f"{_STORIES}/test_login.py"),
    ),
    Part(
        name="kserve-contract",
        about="what every serving service promises",
        needs=("kserve",),
        command=(*_PYTEST, "tests/contract/test_serving_service.py", "-k", "kserve and real and cluster"),
        environment={"KSERVE_DOOR": "service_proxy"},
    ),
    Part(
        name="kserve-recorded",
        about="answers recorded for tests/captured",
        needs=("kserve", "package"),
        command=("-m", "tests.capture", "kserve", "--into", "{report}/captured/kserve"),
    ),
    _releases("releases-standard", "two releases and the way back, under load", KSERVE_MODE="standard"),
    _releases("releases-knative", "the same in Knative mode, in steps", "knative", KSERVE_MODE="knative"),
    _releases("releases-ingress", "the same through an ingress, by Host", "ingress", KSERVE_DOOR="gateway"),
    _releases("releases-gateway-api", "the same through the Gateway API", "gateway api", KSERVE_DOOR="gateway"),
    _releases("releases-s3", "the same with the store on S3", "s3", KSERVE_STORE="s3"),
    Part(
        name="release-in-kubeflow",
        about="upload, then a release wholly in Kubeflow",
        needs=("kubeflow", "kserve", "volume"),
        command=(*_PYTEST, f"{_STORIES}/test_release_in_kubeflow.py"),
    ),
    Part(
        name="airflow-releases",
        about="two releases by Airflow's DAGs under load, put back",
        needs=("airflow",),
        command=("-m", "tests.real.airflow_releases"),
    ),
)
