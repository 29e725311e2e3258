"""What somebody tries who may run code in a container of the stack and wants another version to be live.

`test_stack` hands the text of this module to the Python of a container, which has MLflow's client and not the project:
``python -c TEXT ADDRESS MODEL VERSION [ROUTES]`` attacks the MLflow at this address and prints what worked, as JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
from collections.abc import Callable, Iterator

#: Run in MLflow's container: prints every method and path that its server knows, those of later versions too.
ROUTES_OF_THE_SERVER = """
import json
from mlflow.server import app as flask
from mlflow.server.fastapi_app import app as fastapi
routes = {(method, rule.rule) for rule in flask.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}}
routes |= {(method.upper(), path) for path, methods in fastapi.openapi()["paths"].items() for method in methods}
print(json.dumps(sorted(routes)))
"""


def attempts(address: str, model: str, version: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what could be done to the record of a model, first through MLflow's own client.

    :param version: MLflow's number of it.
    """
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    from mlflow import MlflowClient

    client = MlflowClient(f"http://{address}", registry_uri=f"http://{address}")
    yield "tag", lambda: client.set_model_version_tag(model, version, "attack", "done")
    yield "delete tag", lambda: client.delete_model_version_tag(model, version, "attack")
    yield "model tag", lambda: client.set_registered_model_tag(model, "attack", "done")
    yield "alias", lambda: client.set_registered_model_alias(model, "attack", version)
    yield "delete alias", lambda: client.delete_registered_model_alias(model, "attack")
    yield "stage", lambda: client.transition_model_version_stage(model, version, "Production")
    yield "description", lambda: client.update_model_version(model, version, "attack")
    yield "new model", lambda: client.create_registered_model("attack")
    yield "rename", lambda: client.rename_registered_model("attack", "attacked")
    yield "delete model", lambda: client.delete_registered_model("attacked")
    yield "new version", lambda: client.create_model_version(model, "mounted:/attack", await_creation_for=0)
    alias = json.dumps({"name": model, "alias": "attack", "version": version})
    for path in (
        "/ajax-api/2.0/mlflow/registered-models/alias",
        "//api/2.0/mlflow/registered-models/alias",
        "/api/2.0/mlflow/runs/../registered-models/alias",
        "/api/2.0/mlflow/runs/create%2f..%2f..%2fregistered-models%2falias",
        "http://registry:5000/api/2.0/mlflow/registered-models/alias",
    ):
        yield path, lambda path=path: send(address, "POST", path, alias)
    user = json.dumps({"username": "attack", "password": "attack-attack"})
    yield "new user", lambda: send(address, "POST", "/api/2.0/mlflow/users/create", user)
    query = json.dumps({"query": "{ mlflowSearchModelVersions(input: {}) { modelVersions { name } } }"})
    yield "GraphQL", lambda: send(address, "POST", "/graphql", query)
    files = "/api/2.0/mlflow-artifacts/artifacts"
    yield "read files", lambda: send(address, "GET", files)
    yield "file beside the runs", lambda: send(address, "PUT", f"{files}/attack", "attack")


def send(address: str, method: str, path: str, body: str = "{}") -> bytes:
    """Send a request with nothing in between that would tidy its path; return the answer.

    :raises PermissionError: when it is refused, be it as unknown.
    """
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status in (403, 404, 405, 501):
        raise PermissionError(answer.status)
    return content


def worked(call: Callable[[], object]) -> bool:
    """Return whether a call was not refused."""
    try:
        call()
    except Exception:  # a client's own error: whatever it is called
        return False
    return True


def handed_on(address: str, routes: list[list[str]]) -> Iterator[list[str]]:
    """Yield the routes that the server, and not what stands before it, has an answer to."""
    for method, route in routes:
        path = re.sub(r"<[^>]*>|\{[^}]*\}", "attack", route)
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request(method, path, headers={"Content-Type": "application/json", "Content-Length": "0"})
        if b"nothing else of MLflow" not in connection.getresponse().read():
            yield [method, route]


def main(address: str, model: str, version: str, routes: str = "[]") -> None:
    """Try all of it."""
    done = [name for name, call in attempts(address, model, version) if worked(call)]
    sys.stdout.write(json.dumps({"done": done, "handed on": list(handed_on(address, json.loads(routes)))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
