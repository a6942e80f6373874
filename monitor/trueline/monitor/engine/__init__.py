"""The rule engine: rules in, findings out. It does no I/O of its own (see :mod:`.ports`)."""
