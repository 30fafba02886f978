#!/bin/sh
# Search by curl: search.sh PHOTO [URL] [API_KEY]
set -eu
photo=$1
url=${2:-http://127.0.0.1:8080}
key=${3:-}

# --retry waits as long as Retry-After says where the service is busy (429, 503).
ask() {
    curl --silent --show-error --fail-with-body --retry 10 ${key:+-H "X-API-Key: $key"} "$@"
}

echo "by photo:"
ask -F "image=@$photo" -F top_k=3 "$url/v1/search"

echo "with options:"
ask -F "image=@$photo" -F probe=auto -F min_score=0.2 -F fields= -F collapse_above=0.99 "$url/v1/search"

echo "paging:"
for offset in 0 2 4; do
    ask -F "image=@$photo" -F top_k=2 -F offset=$offset "$url/v1/search"
done

echo "batch, the second of which fails alone:"
item=$(ask -F "image=@$photo" -F top_k=1 "$url/v1/search" | sed 's/.*"item_id": *"\([^"]*\)".*/\1/')
ask -H "Content-Type: application/json" "$url/v1/search/batch" \
    -d "{\"queries\": [{\"item_id\": \"$item\"}, {\"item_id\": \"no such item\"}], \"top_k\": 2}"

echo "refused:"
ask -F "image=@$photo" -F top_k=0 "$url/v1/search" || echo "curl ended with status $?"
