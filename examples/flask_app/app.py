"""The flags of the fleet in Flask: `FLAGS=tcp://... flask --app app run`."""

import atexit
import os

from flask import Flask, Response, abort, jsonify

from amzmq import AmzmqError, Result, blocking
from amzmq.errors import StateUnknown

ADDR = "tcp://127.0.0.1:7711"


def create_app(addr: str = "") -> Flask:
    """One client for the whole program; every request uses it on a thread of its own."""
    client = blocking.Client(addr or os.environ.get("FLAGS", ADDR), name=f"flask-{os.getpid()}")
    client.start()
    client.ready(timeout=10)
    atexit.register(client.stop)
    flags = client.net_mach
    app = Flask(__name__)

    @app.get("/")
    def page() -> tuple[str, int]:
        if flags.is_("Maintenance"):  # a local read: no message is sent
            return "back soon\n", 503
        return f"{'new' if flags.is_('NewCheckout') else 'old'} checkout\n", 200

    @app.get("/flags")
    def show() -> Response:
        return jsonify(dict.fromkeys(flags.state_names, False) | on())

    @app.put("/flags/<name>")
    def enable(name: str) -> Response:
        return answer(flags.add(name, by="flask", timeout=3))

    @app.delete("/flags/<name>")
    def disable(name: str) -> Response:
        return answer(flags.remove(name, by="flask", timeout=3))

    def on() -> dict[str, bool]:
        return dict.fromkeys(flags.active_states(), True)

    def answer(result: Result) -> Response:
        if result is Result.CANCELED:
            abort(409, f"the flags refuse that; they are {flags}")
        return show()  # the change is in the replica: you read what you wrote

    @app.errorhandler(StateUnknown)
    def unknown(error: StateUnknown) -> tuple[str, int]:
        return f"{error}\n", 404

    @app.errorhandler(AmzmqError)
    def away(error: AmzmqError) -> tuple[str, int]:
        return f"{error}\n", 503

    return app
