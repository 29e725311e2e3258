"""A version as KServe's server knows it."""

from __future__ import annotations

import asyncio
import logging
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kserve import InferRequest, InferResponse, Model
from kserve.errors import InferenceError, InvalidInput
from kserve.utils.utils import generate_uuid

from .formats import Predictor

log = logging.getLogger(__name__)


class ServedModel(Model):
    """One version of a model.

    Predictions are made one after the other in a thread of their own, so that questions for its state are answered
    meanwhile.

    :param name: of the model.
    :param version: of it, which answers of the protocol V2 name.
    :param predictor: the loaded model.
    """

    def __init__(self, name: str, version: str, predictor: Predictor) -> None:
        super().__init__(name)
        self.version = version
        self.enable_latency_logging = False
        self._predictor = predictor
        self._thread = ThreadPoolExecutor(max_workers=1)
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer one request.

        :raises InvalidInput: when the request does not fit the model.
        :raises InferenceError: when the model fails.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, payload)

    def _answer(self, payload: Any) -> Any:
        try:
            if isinstance(payload, InferRequest):
                return self._answer_tensors(payload)
            return {"predictions": self._predictor.predict_rows(_rows(payload))}
        except self._predictor.misfits as error:
            log.info("A request does not fit the model: %s", type(error).__name__)
            raise InvalidInput("misfit") from None
        except Exception as error:
            # An exception's own text repeats what was sent; where it was raised says enough.
            frames = traceback.extract_tb(error.__traceback__)[-3:]
            where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
            log.error("The model failed on a request: %s at %s", type(error).__name__, where)
            raise InferenceError("failed") from None

    def _answer_tensors(self, request: InferRequest) -> InferResponse:
        if not request.inputs:
            raise InvalidInput("no input")
        return InferResponse(
            response_id=request.id or generate_uuid(),
            model_name=self.name,
            model_version=self.version,
            infer_outputs=self._predictor.predict_tensors(request),
        )


def _rows(payload: Any) -> list[Any]:
    rows = payload.get("instances") if isinstance(payload, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InvalidInput("no instances")
    return rows
