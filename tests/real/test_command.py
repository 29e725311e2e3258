"""What the command makes of a cluster and of its parts, without either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.doubles.kfp_server import kfp_server
from tests.doubles.kubernetes import KServeSettings, cluster
from tests.kserve_support import install_config
from tests.real import __main__ as command
from tests.real.__main__ import FAILED, NOT_THERE, PASSED, Result, exit_code, note_of, run_all, run_part, table
from tests.real.facts import RUNTIME, Facts
from tests.real.parts import PARTS, Part


def result(part: str, kind: str, note: str = "") -> Result:
    return Result(part=part, about="", result=kind, seconds=3, note=note)


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ([PASSED, NOT_THERE], 0),
        ([PASSED, FAILED, NOT_THERE], 1),
        ([FAILED], 1),
        ([NOT_THERE, NOT_THERE], 2),
        ([], 2),
    ],
)
def test_it_ends_well_when_something_was_run_and_nothing_failed(kinds: list[str], code: int) -> None:
    assert exit_code([result("x", kind) for kind in kinds]) == code


def test_a_part_runs_where_all_is_there_that_it_needs_and_one_that_fails_stops_no_other() -> None:
    parts = [Part(name=name, about="", needs=needs, command=()) for name, needs in [("x", ("a",)), ("y", ("a", "b"))]]
    parts.append(Part(name="z", about="", needs=(), command=()))
    said: list[str] = []
    why = {"a": "", "b": "set B"}

    results = run_all(parts, why.__getitem__, lambda part: result(part.name, FAILED), said.append)

    assert [(entry.part, entry.result, entry.note) for entry in results] == [
        ("x", FAILED, ""),
        ("y", NOT_THERE, "set B"),
        ("z", FAILED, ""),
    ]
    assert said[-1] == "z: failed"


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["collected", ".", "==== 3 passed, 1 skipped in 2.10s ===="], "3 passed, 1 skipped in 2.10s"),
        (["note: 40 requests, 0 failed", ".", "1 passed in 9s"], "40 requests, 0 failed; 1 passed in 9s"),
        (["Traceback", "Set KFP_TOKEN", ""], "Set KFP_TOKEN"),
        ([], ""),
    ],
)
def test_a_part_is_told_by_its_own_words(lines: list[str], note: str) -> None:
    assert note_of(lines) == note


def test_the_table_names_every_part_and_counts() -> None:
    lines = table([result("one", PASSED, "all well"), result("another", NOT_THERE, "set X")]).splitlines()

    assert [line.split() for line in lines[:3]] == [
        ["part", "result", "seconds", "what", "it", "says"],
        ["one", "passed", "3", "all", "well"],
        ["another", "not", "there", "3", "set", "X"],
    ]
    assert lines[-1] == "1 passed, 0 failed, 1 not there"


def test_parts_have_names_of_their_own_and_need_what_can_be_looked_for() -> None:
    facts = Facts({})

    assert len({part.name for part in PARTS}) == len(PARTS)
    assert [part.name for part in PARTS if not any(facts.lacking(name) for name in part.needs)] == []
    assert all((command.ROOT / word).exists() for part in PARTS for word in part.command if word.startswith("tests/"))


def test_where_nothing_is_there_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("KFP_ENDPOINT", "KFP_LOGIN_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)

    assert command.main(["--only", "kubeflow-*", "--report", str(tmp_path)]) == 2

    rows = json.loads((tmp_path / "table.json").read_text())
    assert {row["part"] for row in rows} == {part.name for part in PARTS if part.name.startswith("kubeflow-")}
    assert rows[0]["note"] == "set KFP_ENDPOINT"
    assert (tmp_path / "table.txt").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"KFP_TOKEN": "another"}, "audience"),
        ({"KFP_NAMESPACE": "foreign"}, "pipelines-rbac"),
        ({"KFP_NAMESPACE": ""}, "set KFP_NAMESPACE"),
        ({"KFP_ENDPOINT": "http://127.0.0.1:9"}, "ConnectError"),
    ],
)
def test_a_kubeflow_that_cannot_be_used_is_named_with_the_remedy(change: dict[str, str], why: str) -> None:
    with kfp_server(multi_user=True, token="good") as server:
        environment = {"KFP_ENDPOINT": server.url, "KFP_TOKEN": "good", "KFP_NAMESPACE": "team"}

        lacking = Facts(environment | change).lacking("kubeflow")

    assert why in lacking
    assert bool(why) == bool(lacking)


@pytest.mark.parametrize(
    ("settings", "name", "why"),
    [
        ({}, "kserve", ""),
        ({}, "knative", ""),
        ({"knative": False}, "knative", "no Knative Serving"),
        ({}, "gateway api", ""),
        ({}, "ingress", "no ingresses"),
        ({"gateway_api": False}, "gateway api", "enableGatewayApi"),
        ({"gateway_api": False}, "ingress", ""),
        ({}, "s3", "KSERVE_S3_STORE"),
    ],
)
def test_what_a_kserve_has_is_found_out(tmp_path: Path, settings: dict[str, bool], name: str, why: str) -> None:
    installed = KServeSettings(**settings)
    with cluster(kserve=installed) as k8s:
        install_config(k8s, installed)
        environment = {
            "KSERVE_KUBECONFIG": str(k8s.kubeconfig(tmp_path / "kubeconfig")),
            "KSERVE_STORE_FOLDER": str(tmp_path),
            "KSERVE_STORE_URI": "pvc://models",
            "KSERVE_HOST": k8s.gateway_url,
        }
        without_runtime = Facts(environment).lacking("kserve")
        k8s.kserve.add_runtime(RUNTIME, "an image")
        lacking = Facts(environment).lacking(name)

    assert "deploy/serving-runtime.yaml" in without_runtime
    assert why in lacking
    assert bool(why) == bool(lacking)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("print('note: well', sys.argv[1], os.environ['MODE'])", PASSED),
        ("print('note: bad'); sys.exit(3)", FAILED),
        ("print('2 skipped in 0.10s')", NOT_THERE),
    ],
)
def test_a_part_is_a_process_with_its_output_in_the_report(tmp_path: Path, code: str, kind: str) -> None:
    part = Part(
        name="one",
        about="",
        needs=(),
        command=("-c", f"import os, sys; {code}", "{report}"),
        environment={"MODE": "standard"},
    )

    found = run_part(part, tmp_path, {"PATH": "/usr/bin:/bin"})

    assert found.result == kind
    assert (tmp_path / "one.log").read_text().strip() in (f"note: {found.note}", found.note)
    if kind == PASSED:
        assert found.note == f"well {tmp_path} standard"
