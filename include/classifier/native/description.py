"""The description of the server: an OpenAPI document, and a page that shows it without asking anybody else."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from include.classifier.native.model import ServedModel

NAME = "kubeflow-model-release"

_TEXT = {"type": "string", "example": "The food was very good."}
_ROW = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "score": {"type": "number", "description": "Probability of the label."},
        "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
        "version": {"type": "string"},
        "truncated": {"type": "boolean", "description": "The text had more tokens than the model reads."},
    },
}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape", "data"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "enum": ["BYTES", "FP64", "BOOL"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {}},
    },
}
_TOP_K = {"type": "integer", "minimum": 1, "description": "So many of the likeliest labels alone."}
_SCHEMAS = {
    "V1Request": {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "items": _TEXT, "maxItems": 1000}, "top_k": _TOP_K},
    },
    "V1Answer": {"type": "object", "properties": {"predictions": {"type": "array", "items": _ROW}}},
    "V2Request": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1},
            "parameters": {"type": "object", "properties": {"top_k": _TOP_K}},
        },
    },
    "V2Answer": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "outputs": {"type": "array", "items": _TENSOR},
        },
    },
    "Refusal": {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "type": {"type": "string"}, "message": {"type": "string"}},
    },
}
_REFUSALS = {
    "400": "The request has to be changed.",
    "404": "Another model or version is served here.",
    "408": "The body did not come in time.",
    "413": "The body or the answer would be too large, or the texts take too long.",
    "415": "The body is in a form that is not read here.",
    "500": "The model failed on these texts.",
    "503": "Too many requests wait; Retry-After says when to come again.",
}


def described(model: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of a server."""
    v2 = f"/v2/models/{model}"
    health = {
        f"/v1/models/{model}": "Whether the model is ready: 503 while it is not.",
        "/v1/models": "The name of the model.",
        "/v2": "The server's own name and version.",
        v2: "Versions, inputs and outputs of the model.",
        f"{v2}/ready": "Whether the model is ready: 503 while it is not.",
        "/v2/health/live": "Whether the server runs.",
        "/v2/health/ready": "Whether the server should be sent requests: 503 while it should not.",
        "/ping": "Whether the server runs, where TorchServe says so.",
    }
    predictions = {
        f"/v1/models/{model}:predict": ("KServe's V1 protocol.", "V1"),
        f"{v2}/infer": ("The Open Inference Protocol (V2).", "V2"),
        f"{v2}/versions/{version}/infer": ("The same, for this version alone.", "V2"),
        f"/predictions/{model}": ("TorchServe's own path.", "V1"),
        f"/predictions/{model}/{version}": ("The same, for this version alone.", "V1"),
    }
    paths: dict[str, Any] = {path: {"post": _predict(*what)} for path, what in predictions.items()}
    paths |= {
        path: {"get": {"summary": what, "responses": {"200": {"description": "OK"}}}} for path, what in health.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{model}: a text classifier", "version": version},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def metadata(model: ServedModel) -> dict[str, Any]:
    """Return what V2 says of the model: versions, inputs and outputs."""
    rows, classes = -1, len(model.labels)
    tensors = (
        ("label", "BYTES", [rows]),
        ("score", "FP64", [rows]),
        ("probabilities", "FP64", [rows, classes]),
        ("labels", "BYTES", [classes]),
        ("truncated", "BOOL", [rows]),
    )
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": NAME,
        "inputs": [{"name": "texts", "datatype": "BYTES", "shape": [rows]}],
        "outputs": [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in tensors],
    }


def page(model: str, version: str) -> str:
    """Return the description as HTML."""
    document = described(model, version)
    rows = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td><td>{html.escape(what['summary'])}</td>"
        for path, methods in document["paths"].items()
        for method, what in methods.items()
    )
    example = html.escape(f"""curl -H 'Content-Type: application/json' \\
  -d '{{"instances": ["The food was very good."]}}' \\
  http://HOST:8080/v1/models/{model}:predict""")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(model)}</title>"
        "<style>body{font:16px system-ui;margin:2em;max-width:60em}td{padding:.2em 1em .2em 0}</style>"
        f"<h1>{html.escape(document['info']['title'])}</h1><p>Version {html.escape(version)}</p>"
        f"<table>{rows}</table><pre>{example}</pre>"
        '<p>All of it: <a href="openapi.json">openapi.json</a></p></html>'
    )


def _predict(summary: str, protocol: str) -> Mapping[str, Any]:
    def content(name: str) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    refused = {code: {"description": what, **content("Refusal")} for code, what in _REFUSALS.items()}
    return {
        "summary": summary,
        "requestBody": {"required": True, **content(f"{protocol}Request")},
        "responses": {"200": {"description": "OK", **content(f"{protocol}Answer")}, **refused},
    }
