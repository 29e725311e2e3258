"""The doubles as a cluster of processes beside whoever asks them: ``python -m tests.real.doubles FOLDER``.

Their pods really run: steps with the pipeline half's interpreter, models with a TorchServe each. It writes what to set
into ``environment.json`` of the folder and ends with its standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import yaml

from tests.doubles.kfp_server import kfp_server
from tests.doubles.kubernetes import Cluster, Image, cluster
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.login import PASSWORD, USER, Oauth2ProxyGateway
from tests.doubles.web import Asked, Reply, WebServer
from tests.kserve_support import install_config
from tests.serving_image import install_runtime
from tests.serving_support import build_version
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("PIPELINES_PYTHON") or str(ROOT / ".venv" / "pipelines" / "bin" / "python")
MODEL, IMAGE, NAMESPACE = "sample-reviews", "example/release:1", "team"
_HERE = "127.0.0.1,localhost"
_KUBEFLOW_VERSION, _KSERVE_VERSION = "2.17.0", "0.20.0"


class InnerNames(WebServer):
    """The names of a cluster's Services as a proxy: what asks for one inside the cluster reaches its pods."""

    def __init__(self, k8s: Cluster) -> None:
        super().__init__()
        self._k8s = k8s

    def answer(self, asked: Asked) -> Reply:
        url = urlsplit(asked.target)
        service, _, rest = (url.hostname or "").partition(".")
        address = self._k8s.kserve.world.endpoint(rest.partition(".")[0], service)
        if address is None:
            return Reply.html("no such host", 502)
        kept = {name: asked.headers[name] for name in ("content-type", "accept") if name in asked.headers}
        target = f"http://{address[0]}:{address[1]}{url.path}"
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.request(asked.method, target, content=asked.body, headers=kept)
        return Reply(answer.status_code, answer.content, [("Content-Type", answer.headers.get("content-type", ""))])


@contextmanager
def doubles_in_a_process(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment that leads to doubles in a process of their own."""
    file = folder / "environment.json"
    with (folder / "doubles.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.real.doubles", str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: file.exists() or process.poll() is not None, "the doubles", seconds=120)
            assert process.poll() is None, f"the doubles ended: {log.name}"
            yield json.loads(file.read_text(encoding="utf-8"))
        finally:
            process.communicate()


def serve(folder: Path) -> None:
    """Run the doubles until the standard input ends."""
    store = folder / "store"
    store.mkdir(parents=True, exist_ok=True)
    settings = KServeSettings(version=_KSERVE_VERSION, default_mode="Standard")
    kubeconfig = folder / "kubeconfig"
    os.environ |= {"KUBECONFIG": str(kubeconfig), "STORE_VOLUME_PATH": str(store)}
    with ExitStack() as stack:
        kubeflow = stack.enter_context(
            kfp_server(
                python=PYTHON,
                version=_KUBEFLOW_VERSION,
                multi_user=True,
                token="a token",
                namespaces=(NAMESPACE,),
                refused_verbs=("archive", "unarchive"),
            )
        )
        # Whoever has logged in is known by a header, and needs no token of his own.
        behind_the_login = stack.enter_context(kfp_server(multi_user=True, namespaces=(NAMESPACE,)))
        login = Oauth2ProxyGateway(inner_url=behind_the_login.url)
        stack.enter_context(login)
        k8s = stack.enter_context(
            cluster(
                images={IMAGE: Image(Path(PYTHON).parent)},
                claims={"models": store},
                namespace=NAMESPACE,
                kserve=settings,
                speed=5.0,
            )
        )
        install_config(k8s, settings)
        install_runtime(k8s, PYTHON)
        k8s.kubeconfig(kubeconfig)
        names = stack.enter_context(InnerNames(k8s))
        os.environ |= {"HTTP_PROXY": names.url, "http_proxy": names.url, "NO_PROXY": _HERE, "no_proxy": _HERE}
        built = build_version(store, "20260101000000", model="recorded")
        package = Path(built.archive_uri.removeprefix("file://"))
        environment = {
            "KFP_ENDPOINT": kubeflow.url,
            "KFP_TOKEN": "a token",
            "KFP_NAMESPACE": NAMESPACE,
            "KFP_IMAGE": IMAGE,
            "KFP_LOGIN_ENDPOINT": login.url,
            "KFP_USER": USER,
            "KFP_PASSWORD": PASSWORD,
            "KSERVE_KUBECONFIG": str(kubeconfig),
            "KSERVE_NAMESPACE": NAMESPACE,
            "KSERVE_STORE_FOLDER": str(store),
            "KSERVE_STORE_URI": "pvc://models",
            "KSERVE_HOST": k8s.gateway_url,
            "KSERVE_PACKAGE": f"pvc://models/{package.relative_to(store)}",
            "KSERVE_NOTHING": "pvc://models/nowhere",
            "RELEASE_STORE_URI": store.as_uri(),
            "RELEASE_VOLUME": "models",
            "RELEASE_TRACKING_URI": f"sqlite:///{folder}/mlflow-kubeflow.db",
        }
        environment |= _of_airflow(folder, environment, k8s.connection_variable(folder / "kubeconfig-airflow"))
        unfinished = folder / "environment.part"
        unfinished.write_text(json.dumps(environment), encoding="utf-8")
        unfinished.rename(folder / "environment.json")
        sys.stdin.read()


def _of_airflow(folder: Path, environment: dict[str, str], kubernetes: str) -> dict[str, str]:
    """Return connections, and a folder with the sample model as it is in a cluster."""
    settings = yaml.safe_load((ROOT / "include" / "models" / f"{MODEL}.yaml").read_text(encoding="utf-8"))
    settings["store"] = environment["RELEASE_STORE_URI"]
    settings["cluster"] = {"image": IMAGE}
    settings["serving"] = {"kserve": {"storage": {settings["store"]: environment["KSERVE_STORE_URI"]}}}
    settings["rollout"] = {"watch_seconds": 3, "min_samples": 5, "max_latency_ratio": 20}
    settings["smoke_test"] = {"max_latency_ms": 10_000}
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    pipelines = {"namespace": NAMESPACE, "kubernetes_conn_id": "cluster"}
    serving = {"namespace": NAMESPACE, "kubernetes_conn_id": "cluster", "door": "gateway"}
    connections = {
        "CLUSTER": kubernetes,
        "PIPELINES_DEFAULT": {
            "conn_type": "kubeflow_pipelines",
            "host": environment["KFP_ENDPOINT"],
            "password": environment["KFP_TOKEN"],
            "extra": pipelines,
        },
        "SERVING_DEFAULT": {"conn_type": "kserve", "host": environment["KSERVE_HOST"], "extra": serving},
        "REGISTRY_DEFAULT": {
            "conn_type": "mlflow",
            "extra": {"tracking_uri": f"sqlite:///{folder}/mlflow-airflow.db"},
        },
    }
    variables = {
        f"AIRFLOW_CONN_{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in connections.items()
    }
    return variables | {"MODELS_DIR": str(folder / "models"), "RELEASE_MODEL": MODEL}


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
