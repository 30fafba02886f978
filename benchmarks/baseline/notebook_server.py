"""The notebook's way of searching behind Flask's development server, as tutorials have it: `DATA PORT`.

`POST /search` takes a form with a file `image`; `GET /readyz` answers when the model is loaded.
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
        """Search by the uploaded image."""
        return jsonify(searcher.search(io.BytesIO(request.files["image"].read())))

    @app.get("/readyz")
    def ready() -> Response:
        """Say that it is up."""
        return jsonify("ready")

    app.run(port=int(sys.argv[2]))


if __name__ == "__main__":
    main()
