"""A scikit-learn model of iris flowers: a pipeline that knows nothing of releases. It returns a model and its metrics.

``.venv/pipelines/bin/python examples/iris/pipeline.py`` compiles it to ``pipeline.yaml``.
"""

from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import Metrics, Model, Output


@dsl.component(base_image="python:3.11-slim", packages_to_install=["scikit-learn", "skops"])
def train(regularization: float, seed: int, model: Output[Model], metrics: Output[Metrics]):  # type: ignore[no-untyped-def]
    """Train on two thirds of the flowers and measure on the others."""
    from pathlib import Path

    import skops.io
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, log_loss
    from sklearn.model_selection import train_test_split

    rows, kinds = load_iris(return_X_y=True)
    split = train_test_split(rows, kinds, test_size=1 / 3, random_state=seed, stratify=kinds)
    train_rows, test_rows, train_kinds, test_kinds = split
    classifier = LogisticRegression(C=regularization, max_iter=1000).fit(train_rows, train_kinds)
    metrics.log_metric("accuracy", accuracy_score(test_kinds, classifier.predict(test_rows)))
    metrics.log_metric("log_loss", log_loss(test_kinds, classifier.predict_proba(test_rows)))
    folder = Path(model.path)
    folder.mkdir(parents=True)
    skops.io.dump(classifier, folder / "model.skops")


class Made(NamedTuple):
    """What a run tells of."""

    model: Model
    metrics: Metrics


@dsl.pipeline(name="iris")
def iris(regularization: float = 1.0, seed: int = 7) -> Made:  # type: ignore[no-untyped-def]
    """Train a classifier of iris flowers."""
    trained = train(regularization=regularization, seed=seed)
    return Made(model=trained.outputs["model"], metrics=trained.outputs["metrics"])


if __name__ == "__main__":
    compiler.Compiler().compile(iris, __file__.replace(".py", ".yaml"))
