// Search from JavaScript, with nothing but Node 18 or a browser's fetch: node search.js PHOTO [URL] [API_KEY]
"use strict";
const { readFile } = require("node:fs/promises");

const TRIES = 10;

// What the service refused: `code` is for programs, the message says what was found and what was wanted.
class ApiError extends Error {
  constructor(status, error) {
    super(`${status} ${error.code}: ${error.message} (request ${error.request_id})`);
    this.code = error.code;
  }
}

class Parecido {
  constructor(url = "http://127.0.0.1:8080", apiKey = undefined) {
    this.url = url;
    this.headers = apiKey ? { "X-API-Key": apiKey } : {};
  }

  // Search by an image, a Blob; numbers and filters are spelled as JSON.
  searchPhoto(photo, options = {}) {
    const form = new FormData();
    form.append("image", photo, "photo");
    for (const [name, value] of Object.entries(options)) {
      form.append(name, typeof value === "string" ? value : JSON.stringify(value));
    }
    return this.ask("/v1/search", form);
  }

  // Search by one of `item_id`, `embedding` and `image_base64`.
  search(queryAndOptions) {
    return this.ask("/v1/search", JSON.stringify(queryAndOptions), "application/json");
  }

  // Several searches at once; each result has `hits`, or an `error` of its own.
  async searchBatch(queries, options = {}) {
    const body = JSON.stringify({ queries, ...options });
    return (await this.ask("/v1/search/batch", body, "application/json")).results;
  }

  // Page by page; beyond its PARECIDO_MAX_OFFSET the service refuses.
  async *pages(photo, pageSize, options = {}) {
    for (let offset = 0; ; offset += pageSize) {
      const { hits } = await this.searchPhoto(photo, { ...options, top_k: pageSize, offset });
      if (hits.length === 0) return;
      yield hits;
    }
  }

  async ask(path, body, contentType) {
    // A form names its content type itself, with its boundary.
    const headers = contentType ? { ...this.headers, "Content-Type": contentType } : this.headers;
    for (let triesLeft = TRIES - 1; ; triesLeft--) {
      const response = await fetch(this.url + path, { method: "POST", headers, body });
      const answer = await response.json();
      if (response.ok) return answer;
      const isBusy = response.status === 429 || response.status === 503;
      if (!isBusy || triesLeft === 0) throw new ApiError(response.status, answer.error);
      const seconds = Number(response.headers.get("Retry-After") ?? 1);
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }
}

async function main([path, url, apiKey]) {
  const photo = new Blob([await readFile(path)]);
  const parecido = new Parecido(url, apiKey);

  const answer = await parecido.searchPhoto(photo, { top_k: 3 });
  console.log(`by photo: it shows ${answer.query.category}`);
  for (const hit of answer.hits) console.log(`  ${hit.rank}. ${hit.item_id} ${hit.score.toFixed(3)}`);

  const options = { probe: "auto", min_score: 0.2, fields: "", collapse_above: 0.99 };
  const chosen = await parecido.searchPhoto(photo, options);
  console.log(`with options: searched ${chosen.searched.join(", ")}`);

  const pages = [];
  for await (const hits of parecido.pages(photo, 2)) {
    pages.push(hits);
    if (pages.length === 3) break;
  }
  console.log(`paging: ${pages.length} pages, ${pages.flat().length} hits`);

  const found = { item_id: answer.hits[0].item_id };
  for (const result of await parecido.searchBatch([found, { item_id: "no such item" }], { top_k: 2 })) {
    console.log("batch:", result.error ? result.error.code : `${result.hits.length} hits`);
  }

  try {
    await parecido.search({ ...found, top_k: 0 });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    console.log(`refused: ${error.message}`);
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(String(error.cause ?? error));
  process.exit(1);
});
