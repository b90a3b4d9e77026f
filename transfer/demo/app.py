"""The page and its two requests, as a WSGI application. This module fixes what is served, and no
path names a file of the machine."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, abort, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, SecurityError

from transfer.decoding.rgb import MAX_PIXELS, BadImageError
from transfer.runtime.errors import PipelineError

if TYPE_CHECKING:  # it takes a second
    from transfer.demo.service import Service

TEMPLATES = Path(__file__).parent / "templates"
# the page has the style of the report
REPORT_STYLE = Path(__file__).parents[1] / "report/templates/report.css"
NAMED_CLASSES = 12
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(service: "Service", trusted_hosts: Sequence[str], most_bytes: int) -> Flask:
    """The application.

    Args:
        trusted_hosts: the hosts that a request may name; others are refused.
        most_bytes: of an image file.
    """
    app = Flask(__name__, static_folder=None, template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = most_bytes
    app.config["TRUSTED_HOSTS"] = list(trusted_hosts)
    style = REPORT_STYLE.read_bytes() + (TEMPLATES / "page.css").read_bytes()
    for name, content, kind in (
        ("page.css", style, "text/css"),
        ("page.js", (TEMPLATES / "page.js").read_bytes(), "text/javascript"),
    ):
        app.add_url_rule(f"/{name}", name, partial(Response, content, mimetype=kind))

    @app.before_request
    def refuse_strangers() -> None:
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
        is_elsewhere = origin not in (None, f"http://{request.host}", f"https://{request.host}")
        if request.method == "POST" and (is_elsewhere or site not in ("none", "same-origin")):
            abort(403, "A page of another site sent this request.")

    @app.get("/")
    def page() -> str:
        return render_template(
            "page.html",
            model=service.name,
            names=service.class_names[:NAMED_CLASSES],
            n_more=max(0, len(service.class_names) - NAMED_CLASSES),
            most_bytes=most_bytes,
            most_pixels=MAX_PIXELS,
        )

    @app.post("/predict")
    def predict() -> dict | tuple[dict, int]:
        return ask(service.answer)

    @app.post("/explain")
    def explain() -> dict | tuple[dict, int]:
        return ask(service.explain)

    def ask(question: Callable[[bytes], dict]) -> dict | tuple[dict, int]:
        if request.mimetype == "multipart/form-data":
            abort(
                415,
                "Send an image's bytes as the body of the request, not as a form: one image per "
                "request.",
            )
        try:
            return question(request.get_data(cache=False))
        except BadImageError as problem:
            return {"error": str(problem)}, 400
        except PipelineError as problem:
            return {"error": str(problem)}, 500

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        words = error.description
        if isinstance(error, RequestEntityTooLarge):
            words = f"more than the {most_bytes:,} bytes that are allowed"
        elif isinstance(error, SecurityError):
            words = f"{words} Start the demo with --name to add a name."
        response = error.get_response()  # its headers say, for example, which methods are allowed
        response.data, response.mimetype = app.json.dumps({"error": words}), "application/json"
        return response

    @app.after_request
    def guarded(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return app
