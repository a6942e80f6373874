"""A pytest plugin for applications whose tests ask pytest-databases for a PostgreSQL in Docker.

They get the run's own PostgreSQL instead, from the environment variables POSTGRES_HOST, POSTGRES_PORT,
POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DATABASE. Loaded with ``-p postgres_without_docker``.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest


class Services:
    """Fixtures. Among plugins the one registered last is asked first."""

    @pytest.fixture(scope="session")
    def postgres_service(self) -> SimpleNamespace:
        """What pytest-databases' fixture of that name has, without the container."""
        return SimpleNamespace(
            host=os.environ["POSTGRES_HOST"],
            port=int(os.environ["POSTGRES_PORT"]),
            user=os.environ["POSTGRES_USER"],
            password=os.environ["POSTGRES_PASSWORD"],
            database=os.environ["POSTGRES_DATABASE"],
        )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Register the fixtures: by now pytest-databases has been loaded by the application's conftest."""
    session.config.pluginmanager.register(Services(), "postgres_without_docker_services")
