"""API keys, CORS, trusted proxies, rate limits and the fetching of image URLs."""
