"""Straight to ClickHouse: ``OTEL_TRACES_EXPORTER=clickhouse``, ``OTEL_LOGS_EXPORTER=clickhouse``.

Rows of ``otel_traces`` and ``otel_logs`` as the monitor's receiver writes them, inserted in ClickHouse's own
column format. For services whose telemetry takes no way through a Collector or the monitor: the tables' views
do the rest. Needs the extra ``clickhouse``; nothing of it is loaded unless it is chosen.
"""
