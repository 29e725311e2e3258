"""Speaks the Open Inference Protocol (KServe's V2) to a server, for callers that speak V1.

https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def as_v2_request(body: bytes) -> bytes:
    """Return a V1 request as V2; what is no V1 request stays as it is, for the server to refuse.

    :param body: JSON with ``instances``, a list of texts, and perhaps ``top_k``.
    """
    try:
        request = json.loads(body)
        rows = request["instances"]
    except (ValueError, KeyError, TypeError):
        return body
    data = rows if isinstance(rows, list) else [rows]
    column = {"name": "texts", "datatype": "BYTES", "shape": [len(data)], "data": data}
    parameters = {"parameters": {"top_k": request["top_k"]}} if "top_k" in request else {}
    return json.dumps({"inputs": [column], **parameters}).encode()


def as_v1_answer(body: Any) -> Any:
    """Return a V2 answer of our handler as V1; anything else, an error for example, stays as it is.

    :param body: parsed JSON with the outputs ``label``, ``score``, ``probabilities`` and ``labels``.
    """
    if not isinstance(body, Mapping) or "outputs" not in body:
        return body
    try:
        outputs = {output["name"]: output["data"] for output in body["outputs"]}
        shapes = {output["name"]: output.get("shape", []) for output in body["outputs"]}
        count, flat = len(outputs["label"]), outputs["probabilities"]
        # One list of labels for all rows, or the likeliest of each row.
        labels = outputs["labels"] if len(shapes["labels"]) == 2 else outputs["labels"] * count
        width = len(labels) // count
        answers = list(zip(labels, flat, strict=True))
        predictions = [
            {
                "label": label,
                "score": score,
                "probabilities": dict(answers[row * width : (row + 1) * width]),
                "version": body["model_version"],
            }
            for row, (label, score) in enumerate(zip(outputs["label"], outputs["score"], strict=True))
        ]
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return body
    return {"predictions": predictions}
