"""What is deployed where: one application, run for several cities, each with its own configuration.

To the monitor each city is an application of its own (service.namespace): none colours another's findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Databases whose schema got one constraint too many: a receipt's number alone must be unique there, though
#: only the merchant and the number together are.
STRICT_DATABASES = ("dublin", "dublin_test")
STRICT_CONSTRAINT = "ALTER TABLE receipts ADD CONSTRAINT receipts_receipt_number_key UNIQUE (receipt_number)"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One process of one city.

    In ``settings``, ``db:NAME`` stands for the URL of a database, ``replica:NAME`` for that of its replica.
    """

    city: str
    process: Literal["web", "worker"]
    version: str
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: str = "production"

    @property
    def application(self) -> str:
        """Its service.namespace."""
        return f"expenses-{self.city}"

    @property
    def service(self) -> str:
        """Its service.name, which the processes set themselves."""
        return f"expenses-{self.process}"

    @property
    def databases(self) -> set[str]:
        """Names of the databases that its settings lead to."""
        words = " ".join(self.settings.values()).split()
        return {word.partition(":")[2] for word in words if word.startswith(("db:", "replica:"))}


#: Every deployment by its name.
DEPLOYMENTS: Mapping[str, Deployment] = {
    # -- one incident each -------------------------------------------------------------------------------
    "lisbon/web": Deployment("lisbon", "web", "2.3.0", {"DATABASE_URL": "db:lisbon"}),
    "lisbon/worker": Deployment("lisbon", "worker", "2.4.0", {"DATABASE_URL": "db:lisbon_old"}),
    "oslo/web": Deployment("oslo", "web", "2.3.0", {"DATABASE_URL": "db:oslo", "WRITE_KEYS": "user_id"}),
    "oslo/worker": Deployment(
        "oslo", "worker", "2.4.0", {"DATABASE_URL": "db:oslo", "READ_KEY": "user_id_hash"}
    ),
    "vienna/web": Deployment(
        "vienna",
        "web",
        "2.4.0",
        {"DATABASE_URL": "db:vienna", "ENRICHMENT": "inline", "ACKNOWLEDGE": "always"},
    ),
    "dublin/worker": Deployment("dublin", "worker", "2.4.0", {"DATABASE_URL": "db:dublin"}),
    # -- what looks alike and is right -------------------------------------------------------------------
    "zurich/web": Deployment("zurich", "web", "2.4.0", {"DATABASE_URL": "db:zurich"}),
    "zurich/worker": Deployment(
        "zurich",
        "worker",
        "2.4.0",
        {
            "DATABASE_URL": "replica:zurich",
            "RECEIPTS_DATABASE_URL": "db:zurich_receipts",
            "DUPLICATE_RECEIPTS": "keep",
        },
    ),
    "zurich/web-staging": Deployment(
        "zurich", "web", "2.5.0-rc1", {"DATABASE_URL": "db:zurich_staging"}, environment="staging"
    ),
    "madrid/web": Deployment(
        "madrid",
        "web",
        "2.4.0",
        {
            "DATABASE_SHARDS": "db:madrid_1 db:madrid_2",
            "ENRICHMENT": "best_effort",
            "ACKNOWLEDGE": "on_success",
            "WRITE_KEYS": "user_id",
            "READ_KEY": "either",
        },
    ),
    "athens/web": Deployment(
        "athens",
        "web",
        "2.4.0",
        {"DATABASE_URL": "db:athens", "ENRICHMENT": "inline", "ACKNOWLEDGE": "on_success"},
    ),
    "dublin/worker-test": Deployment(
        "dublin",
        "worker",
        "2.5.0-dev",
        {"DATABASE_URL": "db:dublin_test", "TRUELINE_PROCESS_KIND": "test"},
        environment="ci",
    ),
}
