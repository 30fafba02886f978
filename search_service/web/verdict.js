// What the photo shows, how sure that is, and which categories were searched: one click searches others.

import { bar, byId, element } from "./elements.js";
import { probability, text } from "./texts.js";

/** Where to search. @typedef {{category: string | null, probe: string}} Where */

/**
 * @param {object} answer of a search
 * @param {import("./address.js").Wish} wish that it answers
 * @param {{category: string}[]} categories all there are
 * @param {(where: Where) => void} choose called when the user wants to search somewhere else
 */
export function showVerdict(answer, wish, categories, choose) {
  const place = byId("verdict");
  const candidates = answer.query.candidates;
  place.replaceChildren(
    ...headline(answer, wish),
    element("p", { class: "hint", id: "confidence" }, text("confidence")),
    element(
      "ul",
      { class: "bars", "aria-labelledby": "confidence" },
      ...candidates.map((candidate) => candidateBar(candidate, answer.searched, choose)),
    ),
    element(
      "div",
      { class: "wider" },
      toggle("automatic", isAutomatic(wish), () => choose({ category: null, probe: "auto" })),
      candidates.length > 1 &&
        toggle("allProbable", wish.category === null && !isAutomatic(wish), () =>
          choose({ category: null, probe: String(candidates.length) })),
      categories.length > candidates.length && otherCategory(categories, wish, choose),
    ),
  );
  place.hidden = false;
}

export const hideVerdict = () => {
  byId("verdict").hidden = true;
};

const isAutomatic = (wish) => wish.category === null && wish.probe === "auto";

/** The main sentence: what the photo shows, or that this is not known. */
function headline({ query, searched }, wish) {
  const says = (small, large, why) => [
    small && element("p", { class: "eyebrow" }, text(small)),
    element("h2", { class: "shows" }, large),
    why && element("p", { class: "why" }, why),
  ].filter(Boolean);
  if (query.known === false) {
    return [element("div", { class: "warning" },
      ...says(null, text("unknown"), text("unknownWhy", { category: query.category })))];
  }
  if (wish.category !== null) return says("chosen", wish.category);
  if (wish.probe !== "auto") return says("chosen", text("allChosen", { count: searched.length }));
  if (wish.item !== null) return says("likeItem", query.category);
  if (searched.length > 1) {
    return [element("div", { class: "warning" },
      ...says(null, text("unsure"), text("unsureWhy", { count: searched.length })))];
  }
  return says("looksLike", query.category);
}

function candidateBar({ category, confidence }, searched, choose) {
  return element(
    "li",
    {},
    element(
      "button",
      {
        type: "button",
        class: "candidate",
        "aria-pressed": String(searched.includes(category)),
        onclick: () => choose({ category, probe: "auto" }),
      },
      element("span", { class: "name" }, category),
      element("span", { class: "share" }, probability(confidence)),
      bar(confidence),
    ),
  );
}

function toggle(name, pressed, act) {
  return element("button", { type: "button", class: "chip", "aria-pressed": String(pressed), onclick: act }, text(name));
}

function otherCategory(categories, wish, choose) {
  const options = categories.map(({ category }) =>
    element("option", { value: category, selected: category === wish.category }, category));
  const select = element(
    "select",
    { "aria-label": text("otherLabel"), onchange: () => choose({ category: select.value || null, probe: "auto" }) },
    element("option", { value: "" }, text("otherCategory")),
    ...options,
  );
  return select;
}
