"""Access log: one line per request, with its client, route, status and result. No images, embeddings or API keys."""

import logging
import time

from flask import Response, g, request

from shared.retrieval.results import SearchResult

_log = logging.getLogger(__name__)
# Polled every few seconds by machines: logged at `debug`.
_QUIET = frozenset(("/healthz", "/readyz", "/metrics"))
_MAX_PATH_CHARS = 200


def note_snapshot(snapshot_id: str) -> None:
    """Add the id of the snapshot to the line of this request."""
    g.snapshot_id = snapshot_id


def note_result(result: SearchResult) -> None:
    """Add a search result to the line of this request; the line of a batch has only the number of queries."""
    g.setdefault("results", []).append(result)


def log_request(response: Response) -> None:
    """Log the current request; without its query string, which may have personal data."""
    route = request.url_rule.rule if request.url_rule else None
    milliseconds = round((time.perf_counter() - g.started) * 1000, 1)
    fields = {
        "method": request.method,
        "route": route,
        "path": request.path[:_MAX_PATH_CHARS],
        "status": response.status_code,
        "ms": milliseconds,
        "client": request.remote_addr,
        "api_key": g.get("api_key_name"),
        "snapshot_id": g.get("snapshot_id"),
        "error": g.get("error_code"),
        **_queries(g.get("results", [])),
    }
    logged = {name: value for name, value in fields.items() if value is not None}
    outcome = f"{logged['category']} {logged['confidence']:.2f}" if "category" in logged else logged.get("error", "")
    message = f"{response.status_code} {request.method} {logged['path']} {milliseconds:.0f} ms {outcome}".rstrip()
    _log.log(_level(route, response.status_code), "%s", message, extra={"fields": logged})


def _queries(results: list[SearchResult]) -> dict[str, object]:
    if len(results) != 1:
        return {"queries": len(results)} if results else {}
    [result] = results
    return {
        "category": result.predicted.category,
        "confidence": round(result.predicted.confidence, 4),
        **({} if result.ood_verdict.in_distribution is None else {"known": result.ood_verdict.in_distribution}),
        "searched": len(result.searched),
        "hits": len(result.hits),
    }


def _level(route: str | None, status: int) -> int:
    if route in _QUIET:
        return logging.DEBUG
    return logging.WARNING if status >= 500 else logging.INFO
