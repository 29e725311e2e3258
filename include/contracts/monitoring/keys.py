"""The key of a model's hashes, which whoever compares them needs, and whoever has the files alone must not have."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

#: Of the environment: a secret from which the keys of all models are made. Without it each model has a random one.
KEY_VARIABLE = "CAPTURE_KEY"

#: In the model's folder of the store, for its owner alone to read. Without it no hash can be compared any more.
KEY_FILE = ".capture-key"

_BYTES = 32


def read_key(store: Any, model: str) -> bytes | None:
    """Return the key of a model; none where there is none yet.

    :param store: the model's folder in the store.
    """
    if secret := os.environ.get(KEY_VARIABLE):
        return _of(secret, model)
    try:
        found = (store / KEY_FILE).open("rb")
    except FileNotFoundError:
        return None
    with found as file:
        key: bytes = file.read(_BYTES)
    return key if len(key) == _BYTES else None


def get_key(store: Path, model: str) -> bytes:
    """Return the key of a model, which is drawn when there is none.

    :raises OSError: when it can be neither read nor written.
    """
    if key := read_key(store, model):
        return key
    store.mkdir(parents=True, exist_ok=True)
    part = store / f"{KEY_FILE}-{secrets.token_hex(8)}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, store / KEY_FILE)  # of two that draw one at the same time the first counts
        except FileExistsError:
            if read_key(store, model) is None:  # cut off
                part.replace(store / KEY_FILE)
    finally:
        part.unlink(missing_ok=True)
    key = read_key(store, model)
    if key is None:
        raise OSError(f"{store / KEY_FILE} is no key")
    return key


def _of(secret: str, model: str) -> bytes:
    import hashlib
    import hmac

    return hmac.new(secret.encode(), model.encode(), hashlib.sha256).digest()
