"""Speaks the Open Inference Protocol (KServe's V2) to a server, for callers that speak V1.

https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def as_v2_request(body: bytes) -> bytes:
    """Return a V1 request as V2; what is no V1 request stays as it is, for the server to refuse.

    :param body: JSON with ``instances``, a list of texts.
    """
    try:
        rows = json.loads(body)["instances"]
    except (ValueError, KeyError, TypeError):
        return body
    data = rows if isinstance(rows, list) else [rows]
    column = {"name": "texts", "datatype": "BYTES", "shape": [len(data)], "data": data}
    return json.dumps({"inputs": [column]}).encode()


def as_v1_answer(body: Any) -> Any:
    """Return a V2 answer of our handler as V1; anything else, an error for example, stays as it is.

    :param body: parsed JSON with the outputs ``label``, ``score``, ``probabilities`` and ``labels``.
    """
    if not isinstance(body, Mapping) or "outputs" not in body:
        return body
    try:
        outputs = {output["name"]: output["data"] for output in body["outputs"]}
        labels, flat = outputs["labels"], outputs["probabilities"]
        rows = enumerate(zip(outputs["label"], outputs["score"], strict=True))
        predictions = [
            {
                "label": label,
                "score": score,
                "probabilities": dict(zip(labels, flat[row * len(labels) : (row + 1) * len(labels)], strict=True)),
                "version": body["model_version"],
            }
            for row, (label, score) in rows
        ]
    except (KeyError, TypeError, ValueError):
        return body
    return {"predictions": predictions}
