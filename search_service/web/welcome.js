// The first view: some products of each category to start from.

import { byId, element } from "./elements.js";
import { nameOf, picture } from "./results.js";
import { text } from "./texts.js";

const MAX_CATEGORIES = 12;

/**
 * @param {object[]} categories with examples
 * @param {(itemId: string) => void} search called to search for products like this one
 * @param {(itemId: string) => string} addressOf that search's address
 */
export function showWelcome(categories, search, addressOf) {
  byId("results-title").textContent = text("start");
  byId("hit-list").replaceChildren(
    element("div", { class: "shelves" }, ...categories.slice(0, MAX_CATEGORIES).map((category) => shelf(category, search, addressOf))),
  );
}

function shelf({ category, items, examples = [] }, search, addressOf) {
  const links = examples.map((example) =>
    element(
      "a",
      {
        href: addressOf(example.item_id),
        onclick: (event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          search(example.item_id);
        },
      },
      picture(example.image_url, nameOf(example), false),
    ));
  return element(
    "section",
    { class: "shelf", "aria-label": category },
    element("h3", {}, category, " ", element("span", { class: "count" }, text("products", { count: items }))),
    element("div", { class: "examples" }, ...links),
  );
}
