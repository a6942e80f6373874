pytest_plugins = ["support.store_fixtures", "support.postgres", "support.recorder", "support.matrix"]
