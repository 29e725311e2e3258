"""What a server says, fit for a log or a message: some quote in it what the request proved itself with."""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow.sdk.log import redact

#: The value of a header ``Authorization``, wherever it stands.
_LOGIN = re.compile(r"\b(basic|bearer|negotiate|token)(\s+|%20)[\w.~+/=-]{8,}", re.IGNORECASE)
#: Words behind those are no logins.
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)


def without_logins(words: str, secrets: Iterable[str] = ()) -> str:
    """Return a server's words without logins, as far as they look like some, and without what Airflow knows as secret.

    :param secrets: what the request held.
    """
    for secret in secrets:
        words = words.replace(secret, "***")
    return str(redact(_LOGIN.sub(_blotted, words)))


def _blotted(found: re.Match[str]) -> str:
    scheme, space = found[1], found[2]
    value = found[0].removeprefix(f"{scheme}{space}")
    return found[0] if _WORD.fullmatch(value.rstrip(".")) else f"{scheme}{space}***"
