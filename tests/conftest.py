pytest_plugins = ["support.store_fixtures", "support.postgres", "support.recorder", "support.matrix"]


def pytest_report_header() -> str:
    """Say which SQLAlchemy is under test: the instrumentation is tested on two."""
    import sqlalchemy

    return f"sqlalchemy: {sqlalchemy.__version__}"
