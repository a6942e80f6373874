"""The monitor: receives telemetry, keeps it, runs the rules over it and answers people."""
