// The details of one product, in a dialog.

import { byId, element } from "./elements.js";
import { nameOf, picture, priceOf } from "./results.js";
import { number, text } from "./texts.js";

/**
 * Show an item.
 *
 * @param {object} item as the service returns it
 * @param {number | null} score if it is a hit
 * @param {() => void} more called to search for similar products
 */
export function showDetails(item, score, more) {
  const dialog = byId("details");
  dialog.replaceChildren(
    pictures(item),
    element(
      "div",
      { class: "about" },
      element("p", { class: "eyebrow" }, item.category),
      element("h2", { id: "details-title" }, nameOf(item)),
      priceOf(item.metadata) && element("p", { class: "price" }, priceOf(item.metadata)),
      element("button", { type: "button", class: "primary", autofocus: true, onclick: more }, text("moreLikeThis")),
      facts(item, score),
    ),
    element("button", { type: "button", class: "close", "aria-label": text("close"), onclick: () => dialog.close() }, "×"),
  );
  if (!dialog.open) dialog.showModal();
}

export const hideDetails = () => byId("details").close();

/** Call `act` when the user has closed the details. */
export function onDetailsClosed(act) {
  const dialog = byId("details");
  dialog.addEventListener("close", act);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // outside its content
  });
}

function pictures(item) {
  const urls = item.image_urls;
  const large = element("div", { class: "large" }, picture(urls[0], nameOf(item), false));
  if (urls.length === 1) return large;
  const choices = urls.map((url, index) =>
    element(
      "button",
      {
        type: "button",
        "aria-label": text("imageOf", { position: index + 1, count: urls.length }),
        onclick: () => large.firstChild.replaceWith(picture(url, nameOf(item), false)),
      },
      picture(url, "", true),
    ));
  return element("div", {}, large, element("div", { class: "choices" }, ...choices));
}

function facts(item, score) {
  const named = [
    [text("score"), score === null ? null : number(score, 3)],
    [text("itemId"), item.item_id],
    ...Object.entries(item.metadata).filter(([name]) => !["title", "name", "price", "currency"].includes(name)),
  ];
  const rows = named.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element(
    "dl",
    {},
    ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, ...shown(value)))),
  );
}

/** Any JSON value; only a plain web address becomes a link. */
function shown(value) {
  if (typeof value === "string" && /^https?:\/\/\S+$/.test(value)) {
    return [element("a", { href: value, rel: "noreferrer noopener", target: "_blank" }, value)];
  }
  return [typeof value === "object" ? JSON.stringify(value) : String(value)];
}
