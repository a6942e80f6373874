"""Flask: entry, answer and whose request it is, once the router knows path, body and session.

init_app(app, identity=lambda request: request.view_args.get("user_id"))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask

from trueline.instrumentation import runtime
from trueline.instrumentation.frameworks.entry import Entry
from trueline.instrumentation.frameworks.wsgi import ENTRY, TruelineMiddleware
from trueline.instrumentation.guard import guarded

_KEY = "trueline.bound"


def init_app(
    app: flask.Flask,
    *,
    identity: Callable[[flask.Request], Any] | None = None,
    domain: str = "user",
    message: Callable[[flask.Request], Any] | None = None,
) -> None:
    """Watch every request of ``app``; the functions get Flask's own request. Call it once, at the end."""
    app.wsgi_app = TruelineMiddleware(app.wsgi_app)  # type: ignore[method-assign]

    @guarded("flask.before_request")
    def begin() -> None:
        environ = flask.request.environ
        if flask.request.url_rule is not None:
            route = environ["trueline.route"] = flask.request.url_rule.rule
            around = environ.get(ENTRY)
            if isinstance(around, Entry):
                around.rename(f"{flask.request.method} {route}")
        if runtime.current() is None or (identity is None and message is None):
            return
        entry = Entry()
        # A span is recording by now, the middleware's or another's: this only binds.
        entry.begin(flask.request.endpoint or "", "request")
        entry.bind(_told(identity), domain)
        entry.bind(_told(message), "message")
        environ[_KEY] = entry

    @guarded("flask.teardown_request")
    def end(error: BaseException | None = None) -> None:
        entry = flask.request.environ.pop(_KEY, None)
        if entry is not None:
            entry.end(error)

    # First of all hooks: what the application's own hooks write is bound as well.
    app.before_request_funcs.setdefault(None, []).insert(0, begin)
    app.teardown_request_funcs.setdefault(None, []).insert(0, end)


@guarded("flask.identity")
def _told(teller: Callable[[flask.Request], Any] | None) -> Any:
    return None if teller is None else teller(flask.request)
