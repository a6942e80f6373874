from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry._logs import _internal as logs_state
from opentelemetry.metrics import _internal as metrics_state

pytest_plugins = ["support.store_fixtures", "support.postgres", "support.recorder", "support.matrix"]


def pytest_report_header() -> str:
    """Say which SQLAlchemy is under test: the instrumentation is tested on two."""
    import sqlalchemy

    return f"sqlalchemy: {sqlalchemy.__version__}"


#: The process's providers, which OpenTelemetry lets be set once.
GLOBALS = (
    (trace, "_TRACER_PROVIDER", trace, "_TRACER_PROVIDER_SET_ONCE"),
    (logs_state, "_LOGGER_PROVIDER", logs_state, "_LOGGER_PROVIDER_SET_ONCE"),
    (metrics_state, "_METER_PROVIDER", metrics_state, "_METER_PROVIDER_SET_ONCE"),
)


@pytest.fixture(autouse=True)
def same_providers_afterwards() -> Iterator[None]:
    """A test that makes providers for its process does not make them for the tests after it."""
    before = [(getattr(module, name), getattr(once, flag)._done) for module, name, once, flag in GLOBALS]
    yield
    for (module, name, once, flag), (provider, done) in zip(GLOBALS, before, strict=True):
        setattr(module, name, provider)
        getattr(once, flag)._done = done
