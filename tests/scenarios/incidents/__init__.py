"""The incidents and their benign twins: a module each, whose ``book`` has the scenarios."""
