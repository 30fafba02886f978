"""The baseline notebook's search behind Flask's development server; arguments: `DATA PORT`.

`POST /search` takes a form with a file `image`; `GET /readyz` answers 200 once the model is loaded.
"""

import io
import logging
import sys
from pathlib import Path

from flask import Flask, Response, jsonify, request

from benchmarks.baseline.notebook import NotebookSearch


def main() -> None:
    """Serve until stopped."""
    searcher = NotebookSearch(Path(sys.argv[1]))
    app = Flask("notebook_server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    @app.post("/search")
    def search() -> Response:
        """Search with the uploaded image."""
        return jsonify(searcher.search(io.BytesIO(request.files["image"].read())))

    @app.get("/readyz")
    def ready() -> Response:
        """Report that the model is loaded."""
        return jsonify("ready")

    app.run(port=int(sys.argv[2]))


if __name__ == "__main__":
    main()
