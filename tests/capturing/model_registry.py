"""What a Kubeflow Model Registry is asked: every call that something of ours makes, and where it is odd.

What is made stays: the server cannot delete. Its names are of the recording's own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.capturing.recording import Recorder

V1 = "/api/model_registry/v1"
ALPHA = "/api/model_registry/v1alpha3"
FIRST = "20261128000001"
NOBODY = 999999


def text(value: str) -> dict[str, str]:
    """Return a property of text."""
    return {"metadataType": "MetadataStringValue", "string_value": value}


def names(name: str) -> dict[str, str]:
    """Return what is written in the place of a recording's own names.

    :param name: two words with a dash between.
    """
    first, _, rest = name.partition("-")
    return {
        name: "sample-reviews",
        f"{first}_{rest}": "sample_reviews",
        f"{first.upper()}-{rest}": "SAMPLE-reviews",
        first: "sample",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One recording.

    :param name: of what is made, unknown to the server: two words with a dash between.
    """

    name: str

    def tell(self, recorder: Recorder) -> None:
        """Ask everything."""
        model = self._models(recorder)
        version = self._versions(recorder, model)
        self._patches(recorder, version)
        self._archive(recorder, model)
        self._lists(recorder, model)
        self._refusals(recorder, version)
        self._two_writers(recorder, version)
        self._serving(recorder, model, version)

    def _models(self, recorder: Recorder) -> str:
        ask, models = recorder.ask, f"{V1}/registered_models"
        body = {
            "name": self.name,
            "description": "d",
            "customProperties": {"owner": text("team"), "pin": text("a")},
        }
        model = ask("make a model", "POST", models, body)
        ask("the same name again", "POST", models, {"name": self.name})
        ask("a name that contains the other", "POST", models, {"name": f"my-{self.name}-2"})
        first, _, rest = self.name.partition("-")
        ask("a name with percent and underscore", "POST", models, {"name": f"{first}_{rest}%"})
        for what, name in {
            "find by name": self.name,
            "find by a part of the name": first,
            "find by name with LIKE wildcard": f"{first}%",
            "find by name with underscore as wildcard": f"{first}_{rest}",
            "find by name in other case": f"{first.upper()}-{rest}",
            "find an unknown one": "nobody",
        }.items():
            ask(what, "GET", f"{V1}/registered_model?name={quote(name)}")
        return str(model["id"])

    def _versions(self, recorder: Recorder, model: str) -> str:
        ask, versions = recorder.ask, f"{V1}/model_versions"
        marks = {"state": text("candidate"), "digest": text("abc"), "other": text("x")}
        body = {"name": FIRST, "registeredModelId": model, "author": "airflow", "customProperties": marks}
        version = str(ask("make a version", "POST", versions, body)["id"])
        ask("the same version again", "POST", versions, {"name": FIRST, "registeredModelId": model})
        orphan = {"name": self.name, "registeredModelId": str(NOBODY)}  # a name that is used up as well
        ask("version of an unknown model", "POST", versions, orphan)
        ask("find the version", "GET", f"{V1}/model_version?name={FIRST}&parentResourceId={model}")
        archive = {
            "artifactType": "model-artifact",
            "name": "archive",
            "uri": f"s3://store.example.com/{self.name}/{FIRST}/package",
            "modelFormatName": "pytorch",
            "modelFormatVersion": "1",
            "customProperties": {"sha": text("abc")},
        }
        ask("make its artifact", "POST", f"{versions}/{version}/artifacts", archive)
        ask("its artifacts", "GET", f"{versions}/{version}/artifacts")
        return version

    def _patches(self, recorder: Recorder, version: str) -> None:
        bodies: Mapping[str, Any] = {
            "PATCH one custom property: the others": {"customProperties": {"state": text("live")}},
            "PATCH without custom properties": {"description": "only this"},
            "PATCH with an empty map": {"customProperties": {}},
        }
        for what, body in bodies.items():
            recorder.ask(what, "PATCH", f"{V1}/model_versions/{version}", body)

    def _archive(self, recorder: Recorder, model: str) -> None:
        ask, path = recorder.ask, f"{V1}/registered_models/{model}"
        ask("archive the model", "PATCH", path, {"state": "ARCHIVED"})
        ask("PATCH of an archived model without state", "PATCH", path, {"description": "again"})
        ask("its state then", "GET", path)
        ask("state LIVE by hand", "PATCH", path, {"state": "LIVE"})
        ask("unknown field", "PATCH", path, {"alias": "live"})
        ask("DELETE", "DELETE", path)
        ask("rename", "PATCH", path, {"name": "other"})

    def _lists(self, recorder: Recorder, model: str) -> None:
        ask, listed = recorder.ask, f"registered_models/{model}/versions"
        for number in range(3):
            body = {"name": f"2026112800001{number}", "registeredModelId": model}
            ask(f"version {number}", "POST", f"{V1}/model_versions", body)
        page = f"{V1}/{listed}?pageSize=2&orderBy=CREATE_TIME&sortOrder=DESC"
        token = ask("versions by page", "GET", page)["nextPageToken"]
        ask("next page", "GET", f"{page}&nextPageToken={quote(token)}")
        ask("wrong orderBy in v1", "GET", f"{V1}/{listed}?orderBy=NAME")
        ask("wrong orderBy in v1alpha3", "GET", f"{ALPHA}/{listed}?orderBy=NAME")
        for what, query in {
            "filter by a custom property": "state.string_value = 'live'",
            "filter by name": f"name = '{FIRST}'",
            "filter with a wrong syntax": "name === 1",
        }.items():
            ask(what, "GET", f"{V1}/model_versions?filterQuery={quote(query)}")
        ask("the model over v1alpha3", "GET", f"{ALPHA}/registered_models/{model}")

    def _refusals(self, recorder: Recorder, version: str) -> None:
        ask, models = recorder.ask, f"{V1}/registered_models"
        ask("a version that does not exist", "GET", f"{V1}/model_versions/{NOBODY}")
        ask("an id that is no number", "GET", f"{V1}/model_versions/abc")
        ask("empty name", "POST", models, {"name": ""})
        long_name = f"{self.name} {'n' * 300}"
        assert recorder.do("POST", models, {"name": long_name})["state"] == "LIVE", "the server refuses long names"
        ask("a body that is no JSON object", "POST", models, [1])
        ask("unicode", "POST", models, {"name": f"{self.name}-ä-✨", "description": "ü"})
        long = {"customProperties": {"long": text("x" * 70_000)}}
        kept = recorder.do("PATCH", f"{V1}/model_versions/{version}", long)["customProperties"]["long"]["string_value"]
        assert len(kept) == 70_000, "the server cuts long properties"

    def _two_writers(self, recorder: Recorder, version: str) -> None:
        ask, path = recorder.ask, f"{V1}/model_versions/{version}"
        ask("reset", "PATCH", path, {"customProperties": {"a": text("0")}})
        read = {name: recorder.do("GET", path)["customProperties"] for name in ("b", "c")}
        for name, properties in read.items():
            ask(f"writer {name} writes", "PATCH", path, {"customProperties": {**properties, name: text("1")}})
        ask("after two writers", "GET", path)

    def _serving(self, recorder: Recorder, model: str, version: str) -> None:
        made = recorder.ask("make a serving environment", "POST", f"{V1}/serving_environments", {"name": self.name})
        body = {
            "name": self.name,
            "servingEnvironmentId": made["id"],
            "registeredModelId": model,
            "modelVersionId": version,
            "runtime": "kubeflow-model-release",
            "desiredState": "DEPLOYED",
        }
        recorder.ask("make an inference service", "POST", f"{V1}/inference_services", body)
