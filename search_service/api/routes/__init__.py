"""The routes of the HTTP API: each reads its request, asks one engine, and responds with JSON."""
