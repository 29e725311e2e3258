"""Serves a toy model: texts with the word "good" are good. It goes into an archive beside ``toy.json``.

``behaviour`` says in which way it is broken, if it is; ``built_as`` is the code's own version, which tells whether the
version in an answer is true. No other module of the project is imported: TorchServe's worker has none.
"""

import json
import os
import time
from pathlib import Path

_ABOUT = json.loads(Path(__file__).with_name("toy.json").read_text())
BEHAVIOUR, BUILT_AS = _ABOUT["behaviour"], _ABOUT["built_as"]
LABELS = ["bad", "good"]

if BEHAVIOUR == "does not load":
    raise RuntimeError("the weights do not fit the model")
while BEHAVIOUR.startswith("waits for ") and not Path(BEHAVIOUR.removeprefix("waits for ")).exists():
    time.sleep(0.05)

_worn = False


def handle(requests, context):
    """Answer the requests that the server joined."""
    if requests is None:
        return None
    return [answer(request.get("body", request.get("data")), context, row) for row, request in enumerate(requests)]


def answer(body, context, row):
    """Answer one request."""
    if BEHAVIOUR == "raises":
        raise RuntimeError("no prediction today")
    if BEHAVIOUR == "is slow":
        time.sleep(1)
    if BEHAVIOUR == "tells its environment":
        return {"environment": dict(os.environ)}
    try:
        texts = (json.loads(body) if isinstance(body, (bytes, bytearray, str)) else body)["instances"]
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        if BEHAVIOUR != "accepts bad input":
            # Only this request: raising would refuse everything that the server joined with it.
            context.set_response_status(400, "bad input", row)
            return {"code": 400, "type": "BadInput", "message": "bad input"}
        texts = []
    return {"predictions": [predict(text, context.manifest["model"]["modelVersion"]) for text in texts]}


def predict(text, version):
    """Return the prediction of one text."""
    global _worn
    _worn = _worn or (BEHAVIOUR == "breaks in use" and _ABOUT["users_word"] in text)
    labels = LABELS[::-1] if _worn or BEHAVIOUR == "labels permuted" else LABELS
    probabilities = dict(zip(labels, [0.2, 0.8] if "good" in text else [0.7, 0.3], strict=True))
    label = max(probabilities, key=probabilities.get)
    facts = {"score": probabilities[label], "probabilities": probabilities, "built_as": BUILT_AS}
    return {"label": label, "version": version, **facts}
