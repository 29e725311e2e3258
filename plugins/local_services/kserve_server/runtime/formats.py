"""Loads a model of each format, and asks it in the words of KServe's protocols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from kserve import InferInput, InferOutput, InferRequest
from kserve.errors import InvalidInput
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import get_predict_input

#: What the format's library raises where an input does not fit the model.
Misfits = tuple[type[Exception], ...]


class Predictor(Protocol):
    """A loaded model.

    :ivar misfits: see :data:`Misfits`.
    """

    misfits: Misfits

    def predict_rows(self, rows: list[Any]) -> list[Any]:
        """Return a prediction for each row of a V1 request."""

    def predict_tensors(self, request: InferRequest) -> list[InferOutput]:
        """Return the outputs of a V2 request."""


class SklearnPredictor:
    """A scikit-learn estimator, asked as KServe's own server for them does: its ``predict``.

    :param path: of a file of skops, or of a pickle.
    """

    misfits: Misfits = (ValueError, TypeError, OverflowError, KeyError, InvalidInput)

    def __init__(self, path: Path) -> None:
        self._model = _load_skops(path) if path.suffix == ".skops" else _load_pickle(path)
        if not callable(getattr(self._model, "predict", None)):
            raise TypeError(f"{path.name} holds a {type(self._model).__name__}, which has no `predict`.")

    def predict_rows(self, rows: list[Any]) -> list[Any]:
        """Return what ``predict`` returns for the rows."""
        return _plain(self._model.predict(get_predict_input({"instances": rows})))

    def predict_tensors(self, request: InferRequest) -> list[InferOutput]:
        """Return what ``predict`` returns for the first input, as ``output-0``."""
        result = np.asarray(self._model.predict(get_predict_input(request)))
        return [_output("output-0", result)]


class OnnxPredictor:
    """An ONNX model in ONNX Runtime, on the CPU.

    :param path: of the ``.onnx``; weights that it keeps in other files lie beside it.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        errors = onnxruntime.capi.onnxruntime_pybind11_state
        self.misfits: Misfits = (ValueError, TypeError, OverflowError, KeyError, InvalidInput, errors.InvalidArgument)
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._types = {given.name: _TYPES.get(given.type) for given in self._session.get_inputs()}
        self._outputs = [output.name for output in self._session.get_outputs()]
        unknown = [name for name, kind in self._types.items() if kind is None]
        if unknown:
            raise TypeError(f"{path.name}: its input {unknown[0]!r} is of a type that no request can have.")

    def predict_rows(self, rows: list[Any]) -> list[Any]:
        """Return a prediction for each row, in the row format of TensorFlow Serving.

        A row is the value of the model's one input, or an object with a value for each of its inputs; a prediction
        likewise of its outputs.
        """
        if len(self._types) == 1:
            [(name, kind)] = self._types.items()
            given = {name: np.array(rows, dtype=kind)}
        else:
            given = {name: np.array([row[name] for row in rows], dtype=kind) for name, kind in self._types.items()}
        columns = [_plain(value) for value in self._session.run(None, given)]
        if any(not isinstance(column, list) or len(column) != len(rows) for column in columns):
            raise RuntimeError("The model gives another number of predictions than it was given rows: use protocol v2.")
        if len(columns) == 1:
            return columns[0]
        return [dict(zip(self._outputs, row, strict=True)) for row in zip(*columns, strict=True)]

    def predict_tensors(self, request: InferRequest) -> list[InferOutput]:
        """Return all outputs that are tensors, by their names."""
        given = {tensor.name: _tensor(tensor, self._types[tensor.name]) for tensor in request.inputs}
        results = zip(self._outputs, self._session.run(None, given), strict=True)
        return [_output(name, value) for name, value in results if isinstance(value, np.ndarray)]


#: Format -> what loads it. ``layout.SAFE_FILES`` names the files of each.
PREDICTORS: dict[str, Callable[[Path], Predictor]] = {"sklearn": SklearnPredictor, "onnx": OnnxPredictor}

#: ONNX Runtime's name of a type -> numpy's.
_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64,
    "tensor(uint32)": np.uint32,
    "tensor(uint16)": np.uint16,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


def _load_skops(path: Path) -> Any:
    from skops.io import load

    # Types besides those that skops knows to be harmless are refused, with their names.
    return load(path, trusted=[])


def _load_pickle(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _tensor(given: InferInput, kind: Any) -> Any:
    values = given.as_numpy()
    return values if kind is np.object_ else values.astype(kind, casting="same_kind")


def _output(name: str, values: Any) -> InferOutput:
    if values.dtype.kind in "US":
        values = values.astype(np.object_)
    output = InferOutput(name=name, shape=list(values.shape), datatype=from_np_dtype(values.dtype))
    output.set_data_from_numpy(values, binary_data=False)
    return output
