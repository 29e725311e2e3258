"""TorchServe's way in: ``classifier_serving.handler:handle``.

Answers all rows of all requests that TorchServe joined in one pass through the model. A bad request among them gets its
own 400; its neighbours get their answers. No service envelope is needed, and none may be set: KServe's own reads only
the first request of a batch.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from .cpus import threads_of_a_worker
from .predictor import Predictor
from .protocol import (
    BadRequest,
    Request,
    Unanswered,
    check_size,
    label_sizes,
    read_request,
    write_answer,
    write_refusal,
)

_log = logging.getLogger(__name__)


class Handler:
    """The model of one worker process.

    :param context: TorchServe's, with the folder of the unpacked archive, its manifest and its model-config.yaml.
    """

    def __init__(self, context: Any) -> None:
        settings = context.model_yaml_config or {}
        workers = int(settings.get("maxWorkers", 1))
        self._top_k: int | None = (settings.get("handler") or {}).get("top_k")
        properties = context.system_properties
        device = "cpu" if properties.get("gpu_id") is None else f"cuda:{properties['gpu_id']}"
        self._model = str(context.manifest["model"]["modelName"])
        self._version = str(context.manifest["model"]["modelVersion"])
        self._predictor = Predictor.load(
            Path(properties["model_dir"]), device=device, threads=threads_of_a_worker(workers)
        )
        self._label_sizes = label_sizes(self._predictor.labels)
        # The first pass allocates and compiles; better now than in somebody's request.
        self._predictor.predict(["ready"])

    def answer(self, requests: Sequence[Mapping[str, Any]], context: Any) -> list[str]:
        """Return one body for each request, and set its status in the context."""
        outcomes = [self._read(request, context, index) for index, request in enumerate(requests)]
        answers = self._answers([outcome for outcome in outcomes if isinstance(outcome, Request)])
        bodies = []
        for index, outcome in enumerate(outcomes):
            found = next(answers) if isinstance(outcome, Request) else outcome
            context.set_response_content_type(index, "application/json")
            if isinstance(found, BadRequest):
                context.set_response_status(found.code, found.reason, index)
                found = write_refusal(found)
            bodies.append(found)
        return bodies

    def _read(self, request: Mapping[str, Any], context: Any, index: int) -> Request | BadRequest:
        """Return a request, or what is wrong with it."""
        # TorchServe keeps a parameter's media type among the request's headers, under the parameter's name.
        described = context.get_request_header(index, "body")
        content_type = described.get("content-type") or "" if isinstance(described, Mapping) else ""
        try:
            found = read_request(request, content_type)
            found = replace(found, top_k=found.top_k or self._top_k)
            check_size(found, self._label_sizes)
        except BadRequest as error:
            return error
        return found

    def _answers(self, requests: Sequence[Request]) -> Iterator[str | BadRequest]:
        """Yield the body for each request; one whose texts the model fails on takes no other along."""
        try:
            predictions = iter(self._predictor.predict([text for request in requests for text in request.texts]))
        except Exception as error:
            if len(requests) > 1:
                for request in requests:
                    yield from self._answers([request])
                return
            # Without its message, which may repeat a text.
            place = "".join(traceback.format_tb(error.__traceback__))
            _log.error("The model failed on a request: %s\n%s", type(error).__name__, place)
            yield Unanswered("The model failed on these texts; the server's log says where.")
            return
        for request in requests:
            found = list(islice(predictions, len(request.texts)))
            yield write_answer(request, found, model=self._model, version=self._version)


_handler: Handler | None = None


def handle(requests: Sequence[Mapping[str, Any]] | None, context: Any) -> list[str] | None:
    """Load the model when TorchServe calls without requests, which it does once; otherwise answer them."""
    global _handler
    if requests is None or _handler is None:
        _handler = Handler(context)
    return None if requests is None else _handler.answer(requests, context)
