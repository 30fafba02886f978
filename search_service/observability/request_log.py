"""One line of the log a request: who asked for what, and what became of it. Never an image, an embedding or a key."""

import logging
import time

from flask import Response, g, request

from shared.retrieval.results import SearchResult

_log = logging.getLogger(__name__)
# Asked every few seconds by machines: logged for `debug` only.
_QUIET = frozenset(("/healthz", "/readyz", "/metrics"))
_MOST_PATH = 200


def note_snapshot(snapshot_id: str) -> None:
    """Have this request's line name the snapshot that answers."""
    g.snapshot_id = snapshot_id


def note_result(answer: SearchResult) -> None:
    """Have this request's line tell what a query was taken for, or how many there were."""
    g.setdefault("answers", []).append(answer)


def log_request(response: Response) -> None:
    """Write the line of the request that was answered so, without its query string: anything may be in there."""
    route = request.url_rule.rule if request.url_rule else None
    milliseconds = round((time.perf_counter() - g.started) * 1000, 1)
    fields = {
        "method": request.method,
        "route": route,
        "path": request.path[:_MOST_PATH],
        "status": response.status_code,
        "ms": milliseconds,
        "client": request.remote_addr,
        "api_key": g.get("api_key_name"),
        "snapshot_id": g.get("snapshot_id"),
        "error": g.get("error_code"),
        **_queries(g.get("answers", [])),
    }
    told = {name: value for name, value in fields.items() if value is not None}
    what = f"{told['category']} {told['confidence']:.2f}" if "category" in told else told.get("error", "")
    message = f"{response.status_code} {request.method} {told['path']} {milliseconds:.0f} ms {what}".rstrip()
    _log.log(_level(route, response.status_code), "%s", message, extra={"fields": told})


def _queries(answers: list[SearchResult]) -> dict[str, object]:
    if len(answers) != 1:
        return {"queries": len(answers)} if answers else {}
    [answer] = answers
    return {
        "category": answer.predicted.category,
        "confidence": round(answer.predicted.confidence, 4),
        **({} if answer.ood_verdict.in_distribution is None else {"known": answer.ood_verdict.in_distribution}),
        "searched": len(answer.searched),
        "hits": len(answer.hits),
    }


def _level(route: str | None, status: int) -> int:
    if route in _QUIET:
        return logging.DEBUG
    return logging.WARNING if status >= 500 else logging.INFO
