"""TorchServe's way in: ``classifier_serving.handler:handle``.

Answers all rows of all requests that TorchServe joined in one pass through the model. A bad request among them gets its
own 400; its neighbours get their answers. One that takes too long is given up before TorchServe would end the worker,
with everybody's requests; large ones come last. No service envelope is needed, and none may be set: KServe's own reads
only the first request of a batch.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from .capture import capture_of, take
from .cpus import threads_of_a_worker
from .predictor import Predictor
from .protocol import (
    RETRY_AFTER_SECONDS,
    BadRequest,
    Busy,
    Request,
    TooMuch,
    Unanswered,
    check_size,
    label_sizes,
    read_request,
    write_answer,
    write_refusal,
)

_log = logging.getLogger(__name__)

#: Texts of requests that are predicted together; a request that has more of them is on its own.
_TEXTS_TOGETHER = 256

#: Of the time after which TorchServe ends a worker: what this process may take to answer what it was given. The rest is
#: for passing requests and answers on, and for what is on its way through the model when the time is over.
_SHARE_OF_TIME = 0.7


class _OutOfTimeError(Exception):
    pass


class Handler:
    """The model of one worker process.

    :param context: TorchServe's, with the folder of the unpacked archive, its manifest and its model-config.yaml.
    """

    def __init__(self, context: Any) -> None:
        settings = context.model_yaml_config or {}
        workers = int(settings.get("maxWorkers", 1))
        self._top_k: int | None = (settings.get("handler") or {}).get("top_k")
        self._budget = _SHARE_OF_TIME * float(settings.get("responseTimeout", 60))
        properties = context.system_properties
        device = "cpu" if properties.get("gpu_id") is None else f"cuda:{properties['gpu_id']}"
        self._model = str(context.manifest["model"]["modelName"])
        self._version = str(context.manifest["model"]["modelVersion"])
        self._predictor = Predictor.load(
            Path(properties["model_dir"]), device=device, threads=threads_of_a_worker(workers)
        )
        self._label_sizes = label_sizes(self._predictor.labels)
        self._capture = capture_of(self._model, self._version, Path(properties["model_dir"]))
        # The first pass allocates and compiles; better now than in somebody's request.
        self._predictor.predict(["ready"])

    def answer(self, requests: Sequence[Mapping[str, Any]], context: Any) -> list[str]:
        """Return one body for each request, and set its status in the context."""
        began = time.monotonic()
        until = began + self._budget
        outcomes = [self._read(request, context, index) for index, request in enumerate(requests)]
        answers = iter(self._answers([outcome for outcome in outcomes if isinstance(outcome, Request)], until))
        bodies = []
        for index, outcome in enumerate(outcomes):
            found = next(answers) if isinstance(outcome, Request) else outcome
            context.set_response_content_type(index, "application/json")
            if isinstance(found, BadRequest):
                context.set_response_status(found.code, found.reason, index)
                if isinstance(found, Busy):
                    context.set_response_header(index, "Retry-After", str(RETRY_AFTER_SECONDS))
                found = write_refusal(found)
            elif self._capture is not None and isinstance(outcome, Request):
                take(self._capture, outcome, found, requests[index], context, index, began)
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

    def _answers(self, requests: Sequence[Request], until: float) -> list[str | BadRequest]:
        """Return the body for each request, and find those with the fewest texts first.

        :param until: by the monotonic clock; whoever was not answered then is refused.
        """

        def check_time() -> None:
            if time.monotonic() > until:
                raise _OutOfTimeError

        found: dict[int, str | BadRequest] = {}
        for group in _groups([len(request.texts) for request in requests]):
            together = [requests[index] for index in group]
            try:
                bodies = self._together(together, check_time)
            except _OutOfTimeError:
                bodies = [
                    TooMuch(len(request.texts), self._budget) if len(requests) == 1 else Busy() for request in together
                ]
            found.update(zip(group, bodies, strict=True))
        return [found[index] for index in range(len(requests))]

    def _together(self, requests: Sequence[Request], check_time: Callable[[], None]) -> list[str | BadRequest]:
        """Return the body for each of some requests; one whose texts the model fails on takes no other along."""
        try:
            check_time()
            texts = [text for request in requests for text in request.texts]
            predictions = iter(self._predictor.predict(texts, check_time))
        except _OutOfTimeError:
            raise
        except Exception as error:
            if len(requests) > 1:
                return [body for request in requests for body in self._together([request], check_time)]
            # Without its message, which may repeat a text.
            place = "".join(traceback.format_tb(error.__traceback__))
            _log.error("The model failed on a request: %s\n%s", type(error).__name__, place)
            return [Unanswered("The model failed on these texts; the server's log says where.")]
        return [
            write_answer(
                request, list(islice(predictions, len(request.texts))), model=self._model, version=self._version
            )
            for request in requests
        ]


def _groups(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of requests that are predicted together, the smallest first.

    :param sizes: numbers of texts.
    """
    group: list[int] = []
    for index in sorted(range(len(sizes)), key=sizes.__getitem__):
        if group and sum(sizes[each] for each in [*group, index]) > _TEXTS_TOGETHER:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


_handler: Handler | None = None


def handle(requests: Sequence[Mapping[str, Any]] | None, context: Any) -> list[str] | None:
    """Load the model when TorchServe calls without requests, which it does once; otherwise answer them."""
    global _handler
    if requests is None or _handler is None:
        _handler = Handler(context)
    return None if requests is None else _handler.answer(requests, context)
