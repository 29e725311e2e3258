"""Asks a server of the gRPC service with KServe's own client, in the environment of KServe's server."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


async def ask(address: str, texts: list[str]) -> dict[str, Any]:
    """Return what the server says of itself and of the texts."""
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    client: Any = InferenceGRPCClient(address)
    tensor = InferInput(name="texts", shape=[len(texts)], datatype="BYTES", data=texts)
    answer = await client.infer(InferRequest(model_name="tiny", infer_inputs=[tensor]))
    return {
        "ready": await client.is_server_ready() and await client.is_model_ready("tiny"),
        "labels": [label.decode() for label in answer.outputs[0].data],
        "version": answer.model_version,
    }


if __name__ == "__main__":
    address, *texts = sys.argv[1:]
    sys.argv[1:] = []  # which kserve would read as its own
    sys.stdout.write(json.dumps(asyncio.run(ask(address, texts))) + "\n")
