// Error messages with advice, and retries: automatic ones where they make sense.

import { byId, element } from "./elements.js";
import { hasText, text } from "./texts.js";

const WAIT_S = 3; // if the response has no Retry-After
const MAX_RETRIES = 10; // automatic ones

let timer = 0;
let retries = 0;

/**
 * @param {import("./service.js").ServiceError} error
 * @param {() => void} retry
 */
export function showError(error, retry) {
  clearInterval(timer);
  const name = nameOf(error);
  const isRetried = (error.status === 503 || error.status === 429) && retries < MAX_RETRIES;
  const button = element("button", { type: "button", class: "secondary", onclick: retry }, text("retry"));
  const countdown = element("span", { "aria-hidden": "true" }); // not for screen readers, which would read it out each second
  byId("notice").replaceChildren(
    element(
      "div",
      { class: `notice ${error.status === 503 || error.status === 429 ? "busy" : "error"}`, "data-code": error.code },
      element("h3", {}, text(name)),
      element("p", {}, hasText(`${name}Why`) ? text(`${name}Why`) : "", " ", countdown),
      error.code !== "unreachable" && element(
        "details",
        {},
        element("summary", {}, text("requestDetails")),
        element("p", {}, error.message),
      ),
      canRetry(error) && button,
    ),
  );
  if (isRetried) count(error.retryAfterS ?? WAIT_S, countdown, retry);
}

/** Remove the notice; `isResolved` after a successful request. */
export function clearNotice(isResolved = false) {
  clearInterval(timer);
  if (isResolved) retries = 0;
  byId("notice").replaceChildren();
}

function count(seconds, node, retry) {
  let left = Math.max(1, Math.ceil(seconds));
  const show = () => {
    node.textContent = text("retryIn", { seconds: left });
  };
  show();
  timer = setInterval(() => {
    left -= 1;
    if (left > 0) return show();
    clearInterval(timer);
    retries += 1;
    node.textContent = text("retrying");
    retry();
  }, 1000);
}

function nameOf({ status, code }) {
  if (code === "not_ready") return "notReady";
  if (status === 503 || status === 429) return "overloaded";
  if (status === 401 || status === 403) return "unauthorized";
  return hasText(code) ? code : "failed";
}

/** Return true if a retry may succeed. */
const canRetry = ({ status }) => status === 0 || status === 401 || status === 429 || status >= 500;
