// The grid of hits.

import { byId, element } from "./elements.js";
import { imageSource } from "./service.js";
import { number, text, language } from "./texts.js";

const EAGER = 8; // images that are on the first screen
const NEARLY_SQUARE = 1.4; // such an image may lose its edges to fill a square; others are shown in full
const SKELETONS = 8;

/**
 * Show the hits.
 *
 * @param {object} answer of a search
 * @param {boolean} isByWords true for a search by words alone
 * @param {(itemId: string) => void} open called to show an item's details
 * @param {(itemId: string) => string} addressOf the details' address, for a new tab
 */
export function showHits(answer, isByWords, open, addressOf) {
  const { hits, searched } = answer;
  title(text(isByWords ? "products" : "similar", { count: hits.length }));
  byId("said").textContent = text("hits", { count: hits.length, where: searched.join(", ") });
  if (hits.length === 0) {
    byId("hit-list").replaceChildren(
      element("div", { class: "none" }, element("h3", {}, text("nothing")), element("p", {}, text("nothingWhy"))),
    );
    return;
  }
  const several = searched.length > 1;
  const cards = hits.map((hit) => element("li", {}, card(hit, several, open, addressOf)));
  byId("hit-list").replaceChildren(element("ol", { class: "grid" }, ...cards));
}

/** Show placeholders; earlier hits stay instead, dimmed. */
export function showSearching() {
  byId("said").textContent = text("searching");
  if (byId("hit-list").querySelector(".card")) return;
  title(text("searching"));
  const placeholders = Array.from({ length: SKELETONS }, () =>
    element("li", { class: "card bone" }, element("div", { class: "picture" }), element("p"), element("p")));
  byId("hit-list").replaceChildren(element("ol", { class: "grid", "aria-hidden": "true" }, ...placeholders));
}

export function showNone() {
  title("");
  byId("hit-list").replaceChildren();
}

export const title = (words) => {
  byId("results-title").textContent = words;
};

function card(hit, withCategory, open, addressOf) {
  const name = nameOf(hit);
  return element(
    "a",
    {
      class: "card",
      href: addressOf(hit.item_id),
      onclick: (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return; // the user wants another tab
        event.preventDefault();
        open(hit.item_id);
      },
    },
    picture(hit.image_url, "", hit.rank > EAGER),
    element("span", { class: "name" }, name),
    element(
      "span",
      { class: "facts" },
      element("span", { class: "price" }, priceOf(hit.metadata) ?? ""),
      element(
        "span",
        { class: "score", title: text("score") },
        element("span", { class: "unseen" }, `${text("score")} `),
        number(hit.score, 2),
      ),
    ),
    withCategory && element("span", { class: "tag" }, hit.category),
  );
}

/** An image in a square, so that nothing moves when it loads; without an image the square says so. */
export function picture(url, alt, lazy) {
  const image = element("img", { alt, width: 320, height: 320, loading: lazy ? "lazy" : "eager", decoding: "async" });
  const frame = element("span", { class: "picture" }, image);
  image.addEventListener("load", () => {
    URL.revokeObjectURL(image.src); // of an image that was fetched with a key
    const aspect = image.naturalWidth / image.naturalHeight;
    frame.classList.toggle("fills", aspect > 1 / NEARLY_SQUARE && aspect < NEARLY_SQUARE);
  });
  const isMissing = () => frame.replaceChildren(element("span", { class: "missing" }, text("noImage")));
  image.addEventListener("error", isMissing);
  imageSource(url).then((source) => {
    image.src = source;
  }, isMissing);
  return frame;
}

/** The item's title, or else its id. */
export function nameOf({ item_id: itemId, metadata }) {
  const given = metadata.title ?? metadata.name ?? metadata["título"] ?? metadata.titulo ?? metadata.nome;
  return given ? String(given) : itemId;
}

/** The price in the catalogue's currency; null if there is none. */
export function priceOf({ price, currency }) {
  if (typeof price !== "number") return price ? String(price) : null;
  try {
    return price.toLocaleString(language, currency ? { style: "currency", currency } : { minimumFractionDigits: 2 });
  } catch {
    return `${number(price, 2)} ${currency}`; // not a currency code
  }
}
