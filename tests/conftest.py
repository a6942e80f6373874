pytest_plugins = ["support.store_fixtures"]
