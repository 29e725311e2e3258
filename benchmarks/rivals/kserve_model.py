"""A Transformers pipeline as a custom model of KServe's Python server, as its documentation shows one.

It runs in an environment of its own: ``.../python kserve_model.py --model_name N --model_dir FOLDER --http_port P``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from kserve import Model, ModelServer, model_server


class Classifier(Model):
    """The model of a folder.

    :param name: in the paths.
    :param folder: as training writes it.
    """

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name)
        self._folder = folder
        self.load()

    def load(self) -> bool:
        """Load the pipeline."""
        from transformers import pipeline

        self._pipeline: Any = pipeline("text-classification", model=self._folder, tokenizer=self._folder, top_k=None)
        self.ready = True
        return self.ready

    async def predict(self, payload: Mapping[str, Any], headers: Any = None, response_headers: Any = None) -> Any:
        """Classify the texts of a request."""
        return {"predictions": self._pipeline(list(payload["instances"]))}


def main() -> None:
    """Serve on every address, as KServe's server does."""
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--model_dir", required=True)
    given, _ = parser.parse_known_args()
    ModelServer().start([Classifier(given.model_name, given.model_dir)])


if __name__ == "__main__":
    main()
