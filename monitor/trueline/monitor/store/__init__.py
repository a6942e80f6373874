"""The store: ClickHouse, embedded (chDB) or a server, behind one small client."""
