// The service's HTTP API, as docs/reference/api.md describes it.

import { askForKey, hasKey, keyHeaders } from "./key.js";

const ROOT = new URL("../", import.meta.url); // the service may be below a path of a larger site

/** A failed request: `code` is the service's error code, or `unreachable` without a response. */
export class ServiceError extends Error {
  constructor(status, code, message, retryAfterS = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

/** Search by an image file; `options` are those of the API. */
export function searchPhoto(file, options, signal) {
  const form = new FormData();
  form.append("image", file, "query");
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  return ask("v1/search", { method: "POST", body: form, signal });
}

/** Search by words alone. */
export function searchWords({ text, ...options }, signal) {
  const body = new Blob([JSON.stringify({ text })], { type: "application/json" });
  return ask(`v1/search?${new URLSearchParams(options)}`, { method: "POST", body, signal });
}

/** Search for items like this one. */
export function searchItem(itemId, options, signal) {
  return ask(`${itemUrl(itemId)}/similar?${new URLSearchParams(options)}`, { signal });
}

/** Return an item of the catalogue. */
export const getItem = (itemId) => ask(itemUrl(itemId));

/** Return the categories, each with its number of items and up to `examples` items. */
export const getCategories = (examples) => ask(`v1/categories?examples=${examples}`);

/** Return the served snapshot and its quality. */
export const getStatus = () => ask("v1/status");

/** Return the readiness, with the rejection of a newer snapshot if there was one. */
export const getReady = () => ask("readyz");

/** Return the metrics in Prometheus's text format. */
export const getMetrics = async () => (await call("metrics")).text();

/** Return the source of an image. Browsers send no API key for images, so with a key the image is fetched here. */
export async function imageSource(url) {
  if (!hasKey()) return url;
  return URL.createObjectURL(await (await call(url)).blob());
}

const itemUrl = (itemId) => `v1/items/${encodeURIComponent(itemId)}`;

async function ask(path, request = {}) {
  return (await call(path, request)).json();
}

/** Make a request; `path` is relative to the service's root, or absolute as in responses. */
async function call(path, request = {}) {
  let response;
  try {
    response = await fetch(new URL(path, ROOT), { ...request, headers: keyHeaders() });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "unreachable", String(error));
  }
  if (response.ok) return response;
  if (response.status === 401 && (await askForKey())) return call(path, request);
  throw await errorOf(response);
}

async function errorOf(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  const wait = response.headers.has("Retry-After") && seconds >= 0 ? seconds : null;
  try {
    const { code, message } = (await response.json()).error;
    return new ServiceError(response.status, code, message, wait);
  } catch {
    return new ServiceError(response.status, "unexpected", `${response.status} ${response.statusText}`, wait);
  }
}
