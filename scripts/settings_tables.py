"""Writes docs/settings.md, and the template for a new model, from the code that defines the settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, get_args, get_origin

import yaml
from environment import PROJECT
from pydantic import BaseModel

from include.contracts.version.runtimes import LOCAL_CONNECTIONS, RUNTIME_OF_NEW_MODELS, Runtime

TARGET = PROJECT / "docs" / "settings.md"
#: The page whose first block of YAML is the template for a new model; what serves it is written there.
TEMPLATE = PROJECT / "docs" / "adding-a-model.md"

_MAKE_SETTINGS = (
    ("MODEL", "`sample-reviews`", "Which file of `include/models` to release."),
    (
        "PARAMETERS",
        "none",
        "`make release`: parameters of [a pipeline of your own](bring-your-own-pipeline.md), as JSON.",
    ),
    (
        "ALERT_URL",
        "none",
        "Apprise URL that gets the alerts, for example `mailto://…`, `slack://…`, `json://host/path`.",
    ),
    ("RUN", "none", "`make check-run`: id of a finished run of [a pipeline of your own](bring-your-own-pipeline.md)."),
    ("OUTPUTS", "none", "`make check-run`: where that run has written its outputs, for servers that tell none."),
    ("FILE", "none", "`make add-labels`: labels that have arrived, `.csv` or `.jsonl`; see [drift.md](drift.md)."),
    (
        "IDS",
        "none",
        "`make forget`: ids of requests to delete, as header `x-request-id` of their answers says.",
    ),
    ("VERSIONS", "10", "`make staleness`: how many of the newest versions are [compared](retraining.md)."),
    (
        "TRIALS, MINUTES, OBJECTIVE, EARLY_STOP, PARALLEL",
        "those of `search` in the YAML",
        "`make search`: see `search` below and [search.md](search.md).",
    ),
    ("SEARCH", "a new one", "`make search`: id of a search that was interrupted, to go on with."),
    (
        "RELEASE",
        "none",
        "`make search`: `1` releases with the settings that are found. `make reproduce`: version to train again.",
    ),
    ("FROM", "none", "`make copy-releases`: connection to the registry whose records are copied."),
    ("TO", "none", "`make copy-releases`: connection to the registry that gets them."),
    ("MODEL_STORE", "`file://<STATE_DIR>/store`", "Where packed models are kept: `file://`, `s3://`, `gs://`."),
    (
        "ALLOWED_SOURCES",
        "the folder of `STATE_DIR`",
        "`make airflow`: what the trigger form may name besides what each model's YAML does; commas between.",
    ),
    ("STATE_DIR", "`.state`", "Folder for everything that is written: Airflow's home, runs, models, registry."),
    ("SERVING_PORT", "`8085`", "TorchServe's port for predictions, on loopback."),
    ("AIRFLOW_PORT", "`8080`", "Port of Airflow's UI and API, on loopback."),
    ("ENCODER_DIR", "`.venv/encoder/…`", "`make test-all`: a pretrained encoder; `make test` installs a small one."),
    (
        "GPU_TORCH",
        "the package index's own build",
        "`make test-gpu`: the [PyTorch](training.md#on-a-gpu) that is installed, for example `torch==2.13.0+cu126`.",
    ),
    (
        "GPU_TRIAL",
        "none",
        "`make test-gpu`: `cpu` tries the tests themselves, on a processor; nothing is written down.",
    ),
    (
        "TEST_WORKERS",
        "`3+1`",
        "`make test`: tests at a time in the Airflow half and in the pipeline half; the longer runs have `4+1`.",
    ),
    ("TEST_UNTIL", "none", "`make test…`: seconds since 1970 after which no test begins; what is left out is counted."),
    ("YELP_DATA_DIR", "none", "`make test-all`: folder with the Yelp `train.csv`, `validation.csv` and `test.csv`."),
)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)


def _limits(schema: dict[str, Any]) -> str:
    """Return type and limits in words; of a setting that may be left out, those of its value."""
    parts = schema.get("anyOf") or [schema]
    kinds = [kind for part in parts for kind in _kinds(part)]
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    limits = [f"{sign} {part[key]:g}" for part in parts for key, sign in signs if key in part]
    return ", ".join([" or ".join(filter(None, kinds)), *limits])


def _kinds(schema: dict[str, Any]) -> list[str]:
    if options := schema.get("enum"):
        return [f"`{json.dumps(option)}`" for option in options]
    kinds = schema.get("type", "")
    return kinds if isinstance(kinds, list) else [kinds]


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def model_settings(
    model: type[BaseModel], prefix: str = "", *, without: Collection[str] = ()
) -> list[tuple[str, str, str, str]]:
    """Return one row for each setting of a model's YAML, sections and their lists and mappings opened up.

    :param without: settings that are left out.
    """
    properties = model.model_json_schema()["properties"]
    rows = []
    for name, field in model.model_fields.items():
        if name in without:
            continue
        section, items = _section(field.annotation)
        if section is None or items or str in get_args(field.annotation):
            default = "required" if field.is_required() else _code(field.get_default(call_default_factory=True))
            rows.append((f"`{prefix}{name}`", _limits(properties[name]), default, field.description or ""))
        if section is not None:
            rows += model_settings(section, f"{prefix}{name}{items}.")
    return rows


def _section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the model that a setting's annotation leads to, and what stands for its items in a setting's name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    for inner in get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner, {dict: ".<name>", list: "[]", tuple: "[]"}.get(get_origin(annotation), "")
    return None, ""


def form_fields() -> list[tuple[str, str, str, str]]:
    """Return one row for each field of the trigger form."""
    from release_models import form

    from model_releases.config import read_model_configs

    config = next(config for config in read_model_configs() if config.name == "sample-reviews")
    return [
        (f"`{name}`", f"`{name.upper()}`", _limits(param.schema), param.description or param.schema.get("title", ""))
        for name, param in form(config).items()
    ]


def connection_fields() -> list[tuple[str, str, str]]:
    """Return one row for each field of our connection types."""
    import kubeflow_provider.get_provider_info
    import local_services.get_provider_info
    import model_releases.get_provider_info

    packages = (local_services, kubeflow_provider, model_releases)
    return [
        (f"`{kind['connection-type']}`", f"`{name}`", field["description"])
        for package in packages
        for kind in package.get_provider_info.get_provider_info()["connection-types"]
        for name, field in kind["conn-fields"].items()
    ]


def pipeline_parameters() -> list[tuple[str, str, str, str]]:
    """Return one row for each parameter of the training pipeline's compiled IR."""
    text = (PROJECT / "include" / "pipelines" / "train_classifier.yaml").read_text(encoding="utf-8")
    inputs = next(yaml.safe_load_all(text))["root"]["inputDefinitions"]["parameters"]
    return [
        (
            f"`{name}`",
            parameter["parameterType"].removeprefix("NUMBER_").lower(),
            _code(parameter["defaultValue"]) if "defaultValue" in parameter else "required",
            parameter.get("description", ""),
        )
        for name, parameter in inputs.items()
    ]


def document() -> str:
    """Return the whole page."""
    from model_releases.config import KubeflowModelConfig, ModelConfig, TextClassifierConfig

    parts = [
        "# Settings",
        "Every setting and parameter. This page is written by `make docs` from the code that defines them.",
        "## `make` variables",
        "`make release MODEL=yelp-reviews EPOCHS=2`; the fields of the trigger form below are variables as well.",
        table(("variable", "default", "meaning"), [(f"`{name}`", *rest) for name, *rest in _MAKE_SETTINGS]),
        "## The trigger form",
        "Fields in Airflow's UI, keys of `conf` in the REST API, and variables of `make release`. "
        "Defaults are the model's own settings. Lists take one item on each line; in a variable, commas.",
        table(("field", "make variable", "type", "meaning"), form_fields()),
        "## A model's YAML (`include/models/*.yaml`)",
        table(("setting", "type", "default", "meaning"), model_settings(TextClassifierConfig)),
        "## A YAML of kind `kubeflow-model`",
        "[A pipeline of your own](bring-your-own-pipeline.md). What any model has stands in the table above.",
        table(
            ("setting", "type", "default", "meaning"),
            model_settings(KubeflowModelConfig, without=ModelConfig.model_fields),
        ),
        "## Connections",
        "Ids are `pipelines_default`, `serving_default`, `registry_default` and `alerts_default` "
        "(type `apprise`), or those that `connections` of a model's YAML names.",
        table(("type", "field", "meaning"), connection_fields()),
        "`torchserve` takes host (loopback only) and port besides; `mlflow` user and password; "
        "`kubeflow_model_registry` [host](model-registry.md), user and password as `kubeflow_pipelines` does.",
        "## Parameters of the training pipeline",
        "`include/pipelines/train_classifier.yaml`; the release DAG fills them in.",
        table(("parameter", "type", "default", "meaning"), pipeline_parameters()),
    ]
    return "\n\n".join(parts) + "\n"


def template(page: str, runtime: Runtime = RUNTIME_OF_NEW_MODELS) -> str:
    """Return the page with the template for a new model, which ends with what serves it.

    :param page: as it is.
    """
    begin = page.index("\n   serving:\n") + 1
    end = page.index("   ```\n", begin)
    others = [name for name in get_args(Runtime) if name != runtime]
    lines = ["serving:", f"  runtime: {runtime:<16} # or {', '.join(others)}: native-runtime.md tells what differs"]
    if connection := LOCAL_CONNECTIONS.get(runtime):
        lines += [
            "connections:",
            f"  serving: {connection:<16} # on one machine and in docker compose; not in a cluster",
        ]
    return page[:begin] + "".join(f"   {line}\n" for line in lines) + page[end:]


def main() -> None:
    """Write the pages; with ``--check`` only say whether they are stale."""
    pages = {TARGET: document(), TEMPLATE: template(TEMPLATE.read_text(encoding="utf-8"))}
    for path, text in pages.items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{path.name} is stale: run `make docs`.")


if __name__ == "__main__":
    sys.path[:0] = [str(PROJECT), str(PROJECT / "dags")]
    main()
