"""A server that quotes what it was asked with tells nobody a login."""

from __future__ import annotations

import pytest
from airflow.sdk.log import mask_secret

from kubeflow_provider.server_words import without_logins


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("denied: Basic bWU6aGlkZGVu== for /a", "denied: Basic *** for /a"),
        ('{"authorization": "Bearer eyJhbGciOi.J9.c2ln-_"}', '{"authorization": "Bearer ***"}'),
        ("authorization=bearer%20abcdefgh1&x=1", "authorization=bearer%20***&x=1"),
        ("token ghp_0123456789 is not valid", "token *** is not valid"),
        ("with cookie hidden-cookie", "with cookie ***"),
        ("a password known-to-airflow", "a password ***"),
        ("Bearer authentication is required", "Bearer authentication is required"),
        ("the token has expired", "the token has expired"),
        ("no basic understanding.", "no basic understanding."),
        ("", ""),
    ],
)
def test_what_looks_like_a_login_is_blotted_out(words: str, told: str) -> None:
    mask_secret("known-to-airflow")
    assert without_logins(words, ["hidden-cookie"]) == told
