"""The Open Inference Protocol (KServe's V2): texts come as a tensor of BYTES, answers go as tensors beside each other.

https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .predictor import Prediction


def read_tensor(body: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the rows of a request's one input as they came, and what the input is called in messages.

    :raises ValueError: saying what is wrong with the inputs as a whole; rows are the caller's to check.
    """
    inputs = body["inputs"]
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], Mapping):
        raise ValueError('"inputs" must be a list with one tensor, the texts')
    tensor = inputs[0]
    if tensor.get("datatype") != "BYTES":
        raise ValueError('inputs[0].datatype must be "BYTES"')
    rows, shape = tensor.get("data"), tensor.get("shape")
    if isinstance(rows, list):
        if shape == [len(rows), 1] and all(isinstance(row, list) and len(row) == 1 for row in rows):
            rows = [row[0] for row in rows]
        if shape not in ([len(rows)], [len(rows), 1]):
            raise ValueError("inputs[0].shape does not fit its data: [number of texts]")
    return rows, "inputs[0].data"


def write_tensors(
    predictions: Sequence[Prediction], *, model: str, version: str, request_id: str | None, top_k: int | None = None
) -> str:
    """Return the body of a 200: label, score, probabilities by label, and whether the text was truncated.

    The parameter ``computed_in`` names the kernel where the processor lacks what the model was packed for.

    :param top_k: so many of the likeliest labels, so that each row has labels of its own; ``None``: all labels, once.
    """
    rows = len(predictions)
    found = [prediction.likeliest(top_k) for prediction in predictions]
    width = len(found[0])
    labels = list(found[0]) if top_k is None else [label for row in found for label in row]
    answer: dict[str, Any] = {
        "model_name": model,
        "model_version": version,
        "outputs": [
            _tensor("label", "BYTES", [rows], [prediction.label for prediction in predictions]),
            _tensor("score", "FP64", [rows], [round(prediction.score, 6) for prediction in predictions]),
            _tensor(
                "probabilities",
                "FP64",
                [rows, width],
                [round(value, 6) for row in found for value in row.values()],
            ),
            _tensor("labels", "BYTES", [width] if top_k is None else [rows, width], labels),
            _tensor("truncated", "BOOL", [rows], [prediction.truncated for prediction in predictions]),
        ],
    }
    if predictions[0].computed_in:
        answer["parameters"] = {"computed_in": predictions[0].computed_in}
    if request_id is not None:
        answer["id"] = request_id
    return json.dumps(answer, ensure_ascii=False)


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
