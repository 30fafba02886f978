// Error messages with advice, and retries: automatic ones where they make sense.

import { byId, element } from "./elements.js";
import { hasText, text } from "./texts.js";

const WAIT_S = 3; // where the service does not say how long
const TRIES = 10; // by itself; then the user has to ask

let timer = 0;
let tries = 0;

/**
 * @param {import("./service.js").ServiceError} error
 * @param {() => void} retry
 */
export function showError(error, retry) {
  clearInterval(timer);
  const name = nameOf(error);
  const waits = (error.status === 503 || error.status === 429) && tries < TRIES;
  const button = element("button", { type: "button", class: "secondary", onclick: retry }, text("retry"));
  const countdown = element("span", { "aria-hidden": "true" }); // read out each second, it would be a nuisance
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
  if (waits) count(error.retryAfterS ?? WAIT_S, countdown, retry);
}

/** Take the notice away; `settled` once a search was answered. */
export function clearNotice(settled = false) {
  clearInterval(timer);
  if (settled) tries = 0;
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
    tries += 1;
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

/** What another try may mend. */
const canRetry = ({ status }) => status === 0 || status === 401 || status === 429 || status >= 500;
