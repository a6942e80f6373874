"""OTLP over HTTP: from a request's body to the columns of the raw tables."""
