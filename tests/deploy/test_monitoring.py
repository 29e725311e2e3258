"""The dashboard and the alert rules ask for metrics that there are, by labels that they have.

What TorchServe has stands in ``torchserve_metrics.txt``, as one answered after two predictions, to which
``tests/classifier/test_serve.py`` holds one that runs; the native server's are asked of what counts for it; what
releases have is in ``model_releases/metrics.py``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from include.classifier.native.metrics import Metrics
from local_services.native_server.metrics import joined
from model_releases.metrics import Metric

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
DOCS = Path(__file__).parents[2] / "docs" / "monitoring.md"
#: Labels that Prometheus itself gives to what it collects.
COLLECTED = {"instance", "job"}
#: Of every sample of a native server where there are several.
OF_EACH_SERVER = ("model", "version")
#: Of a histogram, with the labels of each.
PARTS: dict[str, list[str]] = {"bucket": ["le"], "sum": [], "count": []}


def known_metrics() -> dict[str, tuple[str, set[str]]]:
    """Return metric -> its type and labels."""
    native = Metrics("sample-reviews", "20260101000000")
    native.add_request("v1", 200, 0.01)
    native.captured = lambda: [("written", 1)]
    # In docker compose one page has the numbers of all servers; a pod has them without these labels: no harm.
    page = joined([(native.text(), dict.fromkeys(OF_EACH_SERVER, "any"))])
    text = (Path(__file__).parent / "torchserve_metrics.txt").read_text(encoding="utf-8") + page
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    found = {name: (kind, set[str]()) for name, kind in types.items()}
    for name, labels in re.findall(r"^(\w+)\{(.*)\}", text, re.M):
        if name in found:  # not the parts of a histogram
            found[name][1].update(re.findall(r'(\w+)="', labels))
    for name in [name for name, (kind, _) in found.items() if kind == "histogram"]:
        found |= {f"{name}_{part}": ("counter", {*labels, *OF_EACH_SERVER}) for part, labels in PARTS.items()}
    ours = {f"airflow_{metric.stat.replace('.', '_')}": ("gauge", {*metric.tags}) for metric in Metric}
    return found | ours


KNOWN = known_metrics()


def problems(text: str) -> list[str]:
    """Return what is wrong with an expression."""
    try:
        expression = promql_parser.parse(text)
    except ValueError as error:
        return [str(error)]
    found: list[str] = []
    promql_parser.walk(expression, pre_visit=lambda node: found.extend(_of_node(node)))
    return found


def _of_node(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        if node.name not in KNOWN:
            yield f"there is no metric {node.name}"
        else:
            labels = {matcher.name for matcher in node.matchers.matchers}
            yield from (f"{node.name} has no label {name}" for name in labels - KNOWN[node.name][1] - COLLECTED)
    elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
        known = set.intersection(*(KNOWN[name][1] for name in _names(node) if name in KNOWN)) | COLLECTED
        yield from (f"nothing in it has the label {name}" for name in {*node.modifier.labels} - known)
    elif isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase", "irate"):
        yield from (f"{name} is no counter" for name in _names(node) if KNOWN.get(name, "?")[0] != "counter")


def _names(node: Any) -> list[str]:
    names: list[str] = []

    def visit(inner: Any) -> None:
        if isinstance(inner, promql_parser.VectorSelector):
            names.append(inner.name)

    promql_parser.walk(node, pre_visit=visit)
    return names


def labels_of(text: str) -> set[str]:
    """Return the labels that the results of an expression have."""
    return {label for labels in re.findall(r"by \(([^)]*)\)", text) for label in re.split(r",\s*", labels)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max(ts_inference_requests)", "there is no metric ts_inference_requests"),
        ('airflow_model_release_watched_timestamp_seconds{name="x"}', "has no label name"),
        ("sum by (version) (rate(ts_inference_requests_total[5m]))", "nothing in it has the label version"),
        ("rate(airflow_model_release_duration_seconds[5m])", "is no counter"),
        ("rate(Requests2XX)", "expected type matrix"),
        ("sum(Requests2XX", "unclosed left parenthesis"),
        ("per_second(Requests2XX[5m])", "unknown function"),
    ],
)
def test_an_expression_that_tells_nothing_is_found(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    assert [set(group) for group in groups] == [{"name", "rules"}] * len(groups)
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_can_come_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert problems(rule["expr"]) == []
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    named = {name for text in rule["annotations"].values() for name in re.findall(r"\$labels\.(\w+)", text)}
    assert named <= labels_of(rule["expr"])


def test_no_two_alerts_have_one_name() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len({*names}) == len(names)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.processes
def test_prometheus_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(FOLDER / "alerts.yaml")], check=True)


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return document


PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def filled_in(text: str) -> str:
    """Return an expression with what Grafana puts in place of its variables."""
    return text.replace("$__rate_interval", "5m").replace("$model", ".*")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_shows_something_in_a_unit_of_the_chosen_prometheus(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"] in {"reqps", "µs", "ms", "s", "none", "percentunit"}
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert problems(filled_in(target["expr"])) == []
        assert {*re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])} <= labels_of(target["expr"])


def test_the_dashboard_is_whole() -> None:
    document = dashboard()
    variables = {variable["name"]: variable for variable in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables["model"]["query"]).groups()  # type: ignore[union-attr]
    assert label in KNOWN[metric][1]
    assert [problems(filled_in(entry["expr"])) for entry in document["annotations"]["list"]] == [[]]
    ids = [panel["id"] for panel in document["panels"]]
    assert len({*ids}) == len(ids)
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in document["panels"])
    ]
    assert not [one & other for one, other in combinations(cells, 2) if one & other]
    assert max(x for cell in cells for x, _ in cell) == 23


def test_every_metric_of_releases_is_shown_or_told() -> None:
    told = " ".join(rule["expr"] for rule in rules())
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])

    assert {name for name in KNOWN if name.startswith("airflow_") and name not in f"{told} {shown}"} == set()


def test_every_metric_of_releases_is_explained() -> None:
    rows = re.findall(r"^\| `(airflow_\w+)` \| (.*?) \|", DOCS.read_text(encoding="utf-8"), re.M)
    told = {name: {*re.findall(r"`(\w+)`", labels)} for name, labels in rows}
    assert told == {name: labels for name, (_, labels) in KNOWN.items() if name.startswith("airflow_")}
