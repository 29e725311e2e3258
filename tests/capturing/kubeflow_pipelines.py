"""What Kubeflow Pipelines is asked: every call that something of ours makes, and what goes wrong with each.

A multi-user server answers for a service account with the rights of ``deploy/pipelines-rbac.yaml`` and no others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_OID, uuid5

from tests.capturing.recording import Recorder

V2 = "/apis/v2beta1"
NOTHING = "00000000-0000-4000-8000-000000000000"
ENDS = ("SUCCEEDED", "FAILED")

#: Parameters of the runs that the story starts, by what they are called in it. A step cannot write into no folder.
RUNS: dict[str, dict[str, Any]] = {
    "a run that succeeded": {"file": "/tmp/recorded"},
    "a run whose first step failed": {"file": "/no/such/folder/recorded"},
    "a run whose last step failed": {"file": "/tmp/recorded", "fail": True},
    "a run of a version": {"file": "/tmp/recorded", "seconds": 300},
}


def run_id(name: str, what: str) -> str:
    """Return the id that a recording of this name gives to one of ``RUNS``."""
    return str(uuid5(NAMESPACE_OID, f"{name} {what}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One recording.

    :param namespace: the caller's own. :param others: one that exists and where the caller has no rights.
    :param pipeline: the compiled ``tests/test_pipelines/record_and_wait.yaml``, with an image that the nodes have.
    :param name: of what is made, unknown to the server.
    :param pause_seconds: between two looks at a run.
    """

    namespace: str
    others: str
    pipeline: bytes
    name: str
    pause_seconds: float = 5

    def tell(self, recorder: Recorder) -> None:
        """Ask everything."""
        ask = recorder.ask
        ask("health", "GET", f"{V2}/healthz")
        self._refusals(recorder)
        experiment, reference = self._catalogue(recorder)
        self._refused_runs(recorder, experiment, reference)
        self._runs(recorder, experiment, reference)
        ask("an unknown path", "GET", f"{V2}/nothing")

    def _refusals(self, recorder: Recorder) -> None:
        ask, runs = recorder.ask, f"{V2}/runs"
        own = f"{runs}?namespace={self.namespace}"
        ask("no token", "GET", own, header={"Authorization": ""})
        ask("a wrong token", "GET", own, header={"Authorization": "Bearer wrong"})
        ask("a namespace without rights", "GET", f"{runs}?namespace={self.others}")
        ask("no namespace", "GET", runs)
        ask("a namespace that does not exist", "GET", f"{runs}?namespace=nowhere")
        ask("an unknown run", "GET", f"{runs}/{NOTHING}")
        ask("cancel an unknown run", "POST", f"{runs}/{NOTHING}:terminate")
        ask("retry an unknown run", "POST", f"{runs}/{NOTHING}:retry")
        ask("a broken page token", "GET", f"{own}&page_size=2&page_token=abc")
        ask("a filter that is no JSON", "GET", f"{own}&filter=abc")
        ask("a filter that is decoded once", "GET", f"{own}&filter={quote(_where('display_name', '100%'))}")
        ask("a filter on an unknown key", "GET", f"{own}&filter={quote(_where('nothing', 'x'))}")
        ask("an unknown pipeline", "GET", f"{V2}/pipelines/{NOTHING}")

    def _catalogue(self, recorder: Recorder) -> tuple[str, dict[str, str]]:
        ask = recorder.ask
        wanted = {"display_name": self.name, "namespace": self.namespace}
        experiment = ask("make an experiment", "POST", f"{V2}/experiments", wanted)
        ask("the same again", "POST", f"{V2}/experiments", wanted)
        ask("experiments", "GET", f"{V2}/experiments?namespace={self.namespace}&page_size=3")
        pipeline = ask("make a pipeline", "POST", f"{V2}/pipelines", wanted)["pipeline_id"]
        upload = f"{V2}/pipelines/upload_version?pipelineid={pipeline}&name={self.name}"
        version = ask("upload a version", "POST", upload, self.pipeline)
        ask("upload the same again", "POST", upload, self.pipeline)
        ask("pipelines", "GET", f"{V2}/pipelines?namespace={self.namespace}&page_size=1")
        ask("pipeline by name", "GET", f"{V2}/pipelines/names/{self.name}?namespace={self.namespace}")
        ask("versions", "GET", f"{V2}/pipelines/{pipeline}/versions?page_size=1")
        reference = {name: version[name] for name in ("pipeline_id", "pipeline_version_id")}
        return experiment["experiment_id"], reference

    def _refused_runs(self, recorder: Recorder, experiment: str, reference: Mapping[str, str]) -> None:
        latest = {"pipeline_id": reference["pipeline_id"]}
        good = {"display_name": "x", "experiment_id": experiment, "pipeline_version_reference": latest}
        without = {name: value for name, value in good.items() if name != "experiment_id"}
        file = {"parameters": {"file": "x"}}
        tries: dict[str, Any] = {
            "a run without an experiment": without | {"runtime_config": {"parameters": {}}},
            "a run with an unknown parameter": good | {"runtime_config": {"parameters": {"nobody": 1}}},
            "a run with a parameter of a wrong type": good | {"runtime_config": {"parameters": {"seconds": "abc"}}},
            "a run of an unknown pipeline": good
            | {"pipeline_version_reference": {"pipeline_id": NOTHING}, "runtime_config": {}},
            "a run of an unknown experiment": good | {"experiment_id": NOTHING, "runtime_config": file},
            "a run without a name": good | {"display_name": "", "runtime_config": file},
            "a run with an unknown field": good | {"unheard_of": 1, "runtime_config": file},
            "a body that is no JSON": "abc",
        }
        for what, body in tries.items():
            recorder.ask(what, "POST", f"{V2}/runs", body)

    def _runs(self, recorder: Recorder, experiment: str, reference: Mapping[str, str]) -> None:
        ask, own = recorder.ask, f"{V2}/runs?namespace={self.namespace}"
        ids = {what: run_id(self.name, what) for what in RUNS}
        paths = {what: f"{V2}/runs/{ids[what]}" for what in RUNS}
        for what, parameters in RUNS.items():
            body = {
                "run_id": ids[what],
                "display_name": "a test",
                "experiment_id": experiment,
                "pipeline_version_reference": dict(reference),
                "runtime_config": {"parameters": parameters},
            }
            if what == "a run of a version":
                ask(what, "POST", f"{V2}/runs", body)
            else:
                recorder.do("POST", f"{V2}/runs", body)
        going = paths["a run of a version"]
        self._await(recorder, going, "RUNNING", *ENDS)
        ask("a run that has just begun", "GET", going)
        ask("retry a run that goes on", "POST", f"{going}:retry")
        ask("cancel it", "POST", f"{going}:terminate")
        ask("cancel it again", "POST", f"{going}:terminate")
        ask("a run that is being cancelled", "GET", going)
        self._await(recorder, going, *ENDS)
        ask("a cancelled run", "GET", f"{going}?view=FULL")
        for what in list(RUNS)[:-1]:
            self._await(recorder, paths[what], *ENDS)
            ask(what, "GET", f"{paths[what]}?view=FULL")
        over = paths["a run that succeeded"]
        ask("a run that succeeded, without its view", "GET", over)
        ask("cancel a run that is over", "POST", f"{over}:terminate")
        for what, verb in (("archive a run", "archive"), ("take it back", "unarchive")):
            ask(what, "POST", f"{over}:{verb}")
        ask("the log of an unknown pod", "GET", f"/apis/v1alpha1/runs/{NOTHING}/nodes/nobody/log")
        first = ask("runs, newest first, two a page", "GET", f"{own}&page_size=2&sort_by=created_at%20desc")
        token = quote(first.get("next_page_token", ""))
        ask("next page", "GET", f"{own}&page_size=2&sort_by=created_at%20desc&page_token={token}")
        predicates = [{"operation": "IN", "key": "id", "string_values": {"values": list(ids.values())[:2]}}]
        ask("runs by id", "GET", f"{own}&filter={quote(quote(json.dumps({'predicates': predicates})))}")

    def _await(self, recorder: Recorder, path: str, *states: str) -> None:
        """Wait until a run is in one of these states; a run that hangs is the caller's to end."""
        while recorder.do("GET", path).get("state") not in states:
            time.sleep(self.pause_seconds)


def _where(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "string_value": value}]})
