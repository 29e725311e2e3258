"""A Transformers pipeline behind FastAPI, as quick-starts show it: ``... plain_fastapi FOLDER PORT``."""

from __future__ import annotations

import sys
from typing import Any


def main() -> None:
    """Serve the model of a folder on loopback."""
    import uvicorn
    from fastapi import Body, FastAPI
    from transformers import pipeline

    folder, port = sys.argv[1:]
    classifier = pipeline("text-classification", model=folder, tokenizer=folder, top_k=None)
    app = FastAPI()

    @app.get("/health")
    def health() -> str:
        return "ready"

    @app.post("/predict")
    def predict(text: str = Body(embed=True)) -> Any:
        return classifier(text)

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
