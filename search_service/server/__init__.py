"""HTTP: h11 reads and writes it, asyncio moves the bytes, gunicorn runs the processes."""
