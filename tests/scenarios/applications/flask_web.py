"""A web process with Flask and psycopg2: each operation at its own path."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from scenarios.applications import operations, telemetry
from scenarios.applications.work import OPERATIONS, Operation, Refused, Work


def build(work: Work) -> Any:
    """The Flask application, which knows nothing of telemetry."""
    from flask import Flask, jsonify, request

    app = Flask("expenses")

    def view(operation: Operation) -> Any:
        def answer() -> Any:
            try:
                return jsonify(operation(work, request.get_json()))
            except Refused as refused:
                return jsonify({"error": refused.why}), refused.status

        return answer

    for name, operation in OPERATIONS.items():
        app.add_url_rule(f"/{name}", name, view(operation), methods=["POST"])
    return app


def serve(app: Any) -> None:
    """Serve until the process is told to end."""
    from werkzeug.serving import make_server

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    make_server("127.0.0.1", int(os.environ["PORT"]), app, threaded=True).serve_forever()


def main() -> None:
    """Run it."""
    from trueline.instrumentation import carry
    from trueline.instrumentation.frameworks.flask import init_app

    telemetry.start()
    operations.load()
    app = build(Work(lambda: carry().headers()))
    if os.environ.get("BIND", "yes") == "yes":
        init_app(
            app,
            identity=lambda request: (request.get_json(silent=True) or {}).get("user"),
            message=lambda request: (request.get_json(silent=True) or {}).get("message"),
        )
    else:
        init_app(app)
    serve(app)


if __name__ == "__main__":  # under `opentelemetry-instrument`: no line of it in the application
    operations.load()
    serve(build(Work()))
