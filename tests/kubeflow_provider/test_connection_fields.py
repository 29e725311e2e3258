import json
from pathlib import Path

import pytest
from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.http.client import HttpClient, HttpSettings


def connection(host: str = "https://kubeflow.example.com/pipeline", **fields: object) -> Connection:
    own = {name: fields.pop(name) for name in ("login", "password", "port", "schema") if name in fields}
    return Connection(conn_id="kf", conn_type="kubeflow_pipelines", host=host, extra=json.dumps(fields), **own)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://kubeflow.example.com/pipeline"),
        ({"host": "https://kubeflow.example.com/pipeline/"}, "https://kubeflow.example.com/pipeline"),
        ({"host": "http://ml-pipeline.kubeflow.svc:8888"}, "http://ml-pipeline.kubeflow.svc:8888"),
        ({"host": "ml-pipeline.kubeflow.svc", "port": 8888}, "http://ml-pipeline.kubeflow.svc:8888"),
        ({"host": "kf.example.com/pipeline", "schema": "https"}, "https://kf.example.com/pipeline"),
        ({"host": "https://kf.example.com/pipeline", "port": 8443}, "https://kf.example.com:8443/pipeline"),
    ],
)
def test_the_address_is_read_in_one_piece_or_in_parts(fields, url):
    assert HttpSettings.from_connection(connection(**fields)).base_url == url


def test_every_wrong_field_is_named_at_once():
    wrong = connection(
        "https://user:hunter22@kf.example.com",
        verify="perhaps",
        ca_bundle="/no/such/file",
        client_key="/no/such/key",
        proxy="not a url",
        connect_timeout_seconds="soon",
        read_timeout_seconds=-1,
        user_id="zoë",
        authentication="dex",
        dex_connector="github",
    )
    with pytest.raises(InvalidRequestError) as caught:
        HttpClient.from_connection(wrong, service="KFP")
    message = str(caught.value)
    names = (
        "'kf'", "host", "verify", "ca_bundle", "client_key", "proxy", "connect_timeout_seconds",
        "read_timeout_seconds", "user_id", "login, password", "dex_connector",
    )  # fmt: skip
    assert [name for name in names if name not in message] == []
    assert "hunter22" not in message


@pytest.mark.parametrize(("text", "expected"), [("False", False), ("no", False), (True, True), ("", True)])
def test_a_flag_may_be_text_or_empty(text, expected):
    assert HttpSettings.from_connection(connection(verify=text)).verify is expected


def test_an_extra_that_is_no_json_object_is_an_error_of_its_own():
    broken = Connection(conn_id="kf", conn_type="kubeflow_pipelines", host="http://kf", extra="[1]")
    with pytest.raises(InvalidRequestError, match="extra: a JSON object"):
        HttpSettings.from_connection(broken)


@pytest.mark.parametrize(
    ("mode", "named"),
    [
        ("bearer", "password"),
        ("cookie", "password"),
        ("basic", "login"),
        ("oauth2", "token_url"),
        ("kubernetes", "service_account_namespace"),
        ("dex", "login, password"),
        ("kerberos", "authentication: must be one of none, bearer, token_file"),
    ],
)
def test_each_mode_says_which_field_it_misses(mode, named):
    with pytest.raises(InvalidRequestError, match=named):
        HttpClient.from_connection(connection(authentication=mode), service="KFP")


@pytest.mark.parametrize("password", ["two\nlines-of-a-secret", "sécret-with-an-accent"])
def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(password):
    with pytest.raises(InvalidRequestError, match="line break or a character") as caught:
        HttpClient.from_connection(connection(password=password), service="KFP")
    assert "lines-of" not in str(caught.value) and "with-an" not in str(caught.value)


def test_a_path_that_need_not_exist_is_absolute() -> None:
    extra = {"runs_dir": "/var/lib/runs", "python": "python3"}
    fields = ConnectionFields(Connection(conn_id="here", conn_type="any", extra=json.dumps(extra)))
    assert fields.absolute_path("runs_dir") == Path("/var/lib/runs")
    assert fields.absolute_path("socket_dir", required=False) is None
    assert fields.problems == []
    assert fields.absolute_path("python") is None
    assert fields.absolute_path("state_dir") is None
    with pytest.raises(InvalidRequestError, match=r"'here': python: an absolute.*; state_dir: an absolute"):
        fields.check()
