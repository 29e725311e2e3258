"""Handwritten digits, read by an ONNX model: the weights are scikit-learn's, the graph is written by hand.

``.venv/pipelines/bin/python examples/digits/pipeline.py`` compiles it to ``pipeline.yaml``.
"""

from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import Model, Output


class Made(NamedTuple):
    """What a run tells of."""

    model: Model
    accuracy: float
    wrong: int


@dsl.component(base_image="python:3.11-slim", packages_to_install=["scikit-learn", "onnx"])
def train(seed: int, model: Output[Model]) -> NamedTuple("Told", [("accuracy", float), ("wrong", int)]):  # type: ignore
    """Train on three quarters of the digits and measure on the others."""
    from pathlib import Path

    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    split = train_test_split(pixels / 16, digits, random_state=seed, stratify=digits)
    train_pixels, test_pixels, train_digits, test_digits = split
    classifier = LogisticRegression(max_iter=2000).fit(train_pixels, train_digits)
    right = classifier.predict(test_pixels) == test_digits

    constants = {
        "largest": np.array([16], np.float32),
        "weights": classifier.coef_.T.astype(np.float32),
        "bias": classifier.intercept_.astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Div", ["pixels", "largest"], ["scaled"]),
            helper.make_node("Gemm", ["scaled", "weights", "bias"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    Path(model.path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(made, model.path)  # one file, whose name has no ending: `outputs.model_file` gives it one
    told = NamedTuple("Told", [("accuracy", float), ("wrong", int)])  # noqa: UP014  # as it is annotated
    return told(float(right.mean()), int((~right).sum()))


@dsl.pipeline(name="digits")
def digits(seed: int = 7) -> Made:
    """Train a reader of digits."""
    found = train(seed=seed)
    return Made(found.outputs["model"], found.outputs["accuracy"], found.outputs["wrong"])


if __name__ == "__main__":
    compiler.Compiler().compile(digits, __file__.replace(".py", ".yaml"))
