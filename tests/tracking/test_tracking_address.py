"""Secrets in an address are never shown; passwords and their places in the address are generated."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnstudy.tracking.address import shown, without_secrets

SECRET = "s3cr3t"
AROUND = st.text("/@?#:%&=+ \\'\"[]a\n\x1bé", max_size=4)
SCHEMES = st.sampled_from(["http", "https", "postgresql+psycopg2", "mysql", "sqlite", "htp", "sqlite+pysqlcipher"])
PLACES = st.sampled_from(
    [
        "anna:{}@host/db", "anna:{}@host:5432", "{}@host", ":{}@/file.db", "host/?token={}", "host:80/?x=1&password={}",
        "/db?key={}", "host/a#{}", "host?{}", "anna:{}@host?sslmode=require", "anna:1@host/?a=b&{}", "a:b@[::1]/?t={}",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sqlite:////home/anna/mlflow.db", "sqlite:////home/anna/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=5", "sqlite:///mlflow.db?***"),
        ("sqlite:////home/a@b/c#/mlflow.db", "sqlite:////home/a@b/c#/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000/path", "http://[::1]:5000/path"),
        ("https://anna:secret@host:5000/a", "https://***@host:5000/a"),
        ("https://anna:se/cr@et@host:5000/a", "https://***@host:5000/a"),
        ("https://secret@host", "https://***@host"),
        ("https://host/?token=secret", "https://host/?***"),
        ("https://anna:se?cret@host", "https://***"),
        ("https://host?token=sec@ret", "https://***"),
        ("https://anna:secret@[::1", "https://***"),
        ("file:mlruns", "file:mlruns"),
        ("mlruns", "mlruns"),
    ],
)
def test_an_address_is_shown_with_host_and_path_alone(address: str, said: str) -> None:
    assert shown(address) == said
    text = f"no answer of {address} within 5 seconds"
    assert without_secrets(text, address) == f"no answer of {said} within 5 seconds"


def test_a_text_that_has_a_password_otherwise_is_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of the variable")
    address = "postgresql://anna:se%2Fcret@host/db?token=an%20other"
    text = "no se/cret, se%2Fcret, an other or of the variable; url: /api?token=x (http://b:c@d, e)"
    said = without_secrets(text, address)
    assert said == "no ***, ***, *** or ***; url: /api?*** (http://***@d, e)"


@settings(max_examples=150, derandomize=True, deadline=None)
@given(scheme=SCHEMES, place=PLACES, before=AROUND, after=AROUND)
def test_no_password_is_shown_whatever_is_in_it(scheme: str, place: str, before: str, after: str) -> None:
    address = f"{scheme}://{place.format(before + SECRET + after)}"
    assert SECRET not in shown(address)
    for text in (address, f"can't open '{address}': refused", f"{address}/api/2.0: no such host"):
        assert SECRET not in without_secrets(text, address)
