"""How a connection proves who is asking: one module for each way, and the table of them.

Logins are shared: all hooks of a process whose connections have the same fields use the same object, and with it one
session or token. It may be used from several threads and several event loops at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module

import httpx

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.http.authentication.flow import mask
from kubeflow_provider.http.settings import HttpSettings

#: Value of the field `authentication` -> function that reads the mode's fields and returns how to log in.
MODES = {
    "none": None,
    "bearer": "kubeflow_provider.http.authentication.fixed.bearer",
    "token_file": "kubeflow_provider.http.authentication.token_file.token_file",
    "kubernetes": "kubeflow_provider.http.authentication.service_account.service_account",
    "dex": "kubeflow_provider.http.authentication.dex.dex",
    "oauth2": "kubeflow_provider.http.authentication.oauth2.oauth2",
    "cookie": "kubeflow_provider.http.authentication.fixed.cookie",
    "basic": "kubeflow_provider.http.authentication.fixed.basic",
}

#: A process uses a handful of connections; changed ones leave their old logins behind, and the oldest make room.
_KEEP = 64
_logins: dict[str, httpx.Auth] = {}
_lock = threading.Lock()


def authentication_for(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth | None:
    """Return the login of a connection, the same object for the same fields.

    :param fields: of the connection.
    :param settings: what else was read from it.
    :return: ``None`` where nothing has to be proved.
    :raises InvalidRequestError: naming every field that is missing or wrong, those found before included.
    """
    mode = fields.choice("authentication", tuple(MODES), "bearer" if fields.password else "none")
    key = fields.digest()
    if not fields.problems and (known := _logins.get(key)):
        return known
    login = _read(mode, fields, settings)
    fields.check()
    if login is None:
        return None
    mask(fields.password)
    with _lock:
        while len(_logins) >= _KEEP:
            del _logins[next(iter(_logins))]
        return _logins.setdefault(key, login)


def _read(mode: str, fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth | None:
    path = MODES[mode]
    if path is None:
        return None
    module, _, name = path.rpartition(".")
    read: Callable[[ConnectionFields, HttpSettings], httpx.Auth] = getattr(import_module(module), name)
    return read(fields, settings)
