"""The registry and what is made from it."""

from pathlib import Path

import pytest

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import reference
from trueline.instrumentation.semconv.registry import attribute, event

REPOSITORY = Path(__file__).parents[2]


def test_the_reference_page_is_what_the_registry_says() -> None:
    page = REPOSITORY / "docs" / "reference" / "telemetry.md"
    assert page.read_text(encoding="utf-8") == reference.render(), (
        "run: python -m trueline.instrumentation.semconv.reference > docs/reference/telemetry.md"
    )


def test_every_constant_is_in_the_registry_and_the_other_way_round() -> None:
    constants = {
        value
        for name, value in vars(semconv).items()
        if name.isupper()
        and isinstance(value, str)
        and "." in value
        and not value.startswith("http:")
        and not value.startswith("https:")
    }
    constants -= {semconv.SCOPE_NAME, semconv.CONTRACT_VERSION}
    assert constants == set(semconv.ATTRIBUTES) | set(semconv.EVENTS)


def test_a_table_has_each_column_once() -> None:
    for table in semconv.Table:
        columns = [entry.column for entry in semconv.ATTRIBUTES.values() if table in entry.tables]
        assert len(columns) == len(set(columns))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        attribute("service.name", "string", semconv.Signal.RESOURCE, meaning="again")
    with pytest.raises(ValueError, match="unregistered"):
        event("trueline.unheard", meaning="of", attributes=("trueline.unheard.of",))


@pytest.mark.parametrize(
    "encoding", ["raw", "integer", "sha256", "sha256/upper", "sha256/16", "sha256/16/int", "fn:x"]
)
def test_encodings_of_the_grammar(encoding: str) -> None:
    assert semconv.ENCODING_PATTERN.fullmatch(encoding)


@pytest.mark.parametrize("encoding", ["", "sha512", "sha256/", "sha256/int/16", "hmac:"])
def test_what_the_grammar_refuses(encoding: str) -> None:
    assert not semconv.ENCODING_PATTERN.fullmatch(encoding)
