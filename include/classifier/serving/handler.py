"""TorchServe's way in: ``classifier_serving.handler:handle``.

Answers all rows of all requests that TorchServe joined in one pass through the model. A bad request among them gets its
own 400; its neighbours get their answers. No service envelope is needed, and none may be set: KServe's own reads only
the first request of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .cpus import threads_of_a_worker
from .predictor import Predictor
from .protocol import BadRequest, Request, read_request, write_answer, write_refusal


class Handler:
    """The model of one worker process.

    :param context: TorchServe's, with the folder of the unpacked archive, its manifest and its model-config.yaml.
    """

    def __init__(self, context: Any) -> None:
        workers = int((context.model_yaml_config or {}).get("maxWorkers", 1))
        properties = context.system_properties
        device = "cpu" if properties.get("gpu_id") is None else f"cuda:{properties['gpu_id']}"
        self._model = str(context.manifest["model"]["modelName"])
        self._version = str(context.manifest["model"]["modelVersion"])
        self._predictor = Predictor.load(
            Path(properties["model_dir"]), device=device, threads=threads_of_a_worker(workers)
        )
        # The first pass allocates and compiles; better now than in somebody's request.
        self._predictor.predict(["ready"])

    def answer(self, requests: Sequence[Mapping[str, Any]], context: Any) -> list[str]:
        """Return one body for each request, and set its status in the context."""
        outcomes = [_read(request, context, index) for index, request in enumerate(requests)]
        texts = [text for outcome in outcomes if isinstance(outcome, Request) for text in outcome.texts]
        predictions = iter(self._predictor.predict(texts))
        bodies = []
        for index, outcome in enumerate(outcomes):
            context.set_response_content_type(index, "application/json")
            if isinstance(outcome, BadRequest):
                context.set_response_status(400, "Bad Request", index)
                bodies.append(write_refusal(outcome))
            else:
                found = list(islice(predictions, len(outcome.texts)))
                bodies.append(write_answer(outcome, found, model=self._model, version=self._version))
        return bodies


def _read(request: Mapping[str, Any], context: Any, index: int) -> Request | BadRequest:
    """Return a request, or what is wrong with it."""
    # TorchServe keeps a parameter's media type among the request's headers, under the parameter's name.
    described = context.get_request_header(index, "body")
    content_type = described.get("content-type") or "" if isinstance(described, Mapping) else ""
    try:
        return read_request(request, content_type)
    except BadRequest as error:
        return error


_handler: Handler | None = None


def handle(requests: Sequence[Mapping[str, Any]] | None, context: Any) -> list[str] | None:
    """Load the model when TorchServe calls without requests, which it does once; otherwise answer them."""
    global _handler
    if requests is None or _handler is None:
        _handler = Handler(context)
    return None if requests is None else _handler.answer(requests, context)
