// The predicted category, its confidence, and the categories that were searched; a click searches others.

import { bar, byId, element } from "./elements.js";
import { probability, text } from "./texts.js";

/** The categories to search. @typedef {{category: string | null, probe: string}} Scope */

/**
 * @param {object} answer of a search
 * @param {import("./address.js").SearchState} state of the search
 * @param {{category: string}[]} categories of the catalogue
 * @param {(scope: Scope) => void} choose called with other categories to search
 */
export function showVerdict(answer, state, categories, choose) {
  const verdict = byId("verdict");
  const candidates = answer.query.candidates;
  verdict.replaceChildren(
    ...headline(answer, state),
    element("p", { class: "hint", id: "confidence" }, text("confidence")),
    element(
      "ul",
      { class: "bars", "aria-labelledby": "confidence" },
      ...candidates.map((candidate) => candidateBar(candidate, answer.searched, choose)),
    ),
    element(
      "div",
      { class: "wider" },
      toggle("automatic", isAutomatic(state), () => choose({ category: null, probe: "auto" })),
      candidates.length > 1 &&
        toggle("allProbable", state.category === null && !isAutomatic(state), () =>
          choose({ category: null, probe: String(candidates.length) })),
      categories.length > candidates.length && otherCategory(categories, state, choose),
    ),
  );
  verdict.hidden = false;
}

export const hideVerdict = () => {
  byId("verdict").hidden = true;
};

const isAutomatic = (state) => state.category === null && state.probe === "auto";

/** The main sentence: the predicted category, or that there is none. */
function headline({ query, searched }, state) {
  const says = (small, large, why) => [
    small && element("p", { class: "eyebrow" }, text(small)),
    element("h2", { class: "shows" }, large),
    why && element("p", { class: "why" }, why),
  ].filter(Boolean);
  if (query.known === false) {
    return [element("div", { class: "warning" },
      ...says(null, text("unknown"), text("unknownWhy", { category: query.category })))];
  }
  if (state.category !== null) return says("chosen", state.category);
  if (state.probe !== "auto") return says("chosen", text("allChosen", { count: searched.length }));
  if (state.item !== null) return says("likeItem", query.category);
  if (state.photo === null) {
    return searched.length > 1
      ? says("speaksOfMany", text("allChosen", { count: searched.length }))
      : says("speaksOf", query.category);
  }
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

function otherCategory(categories, state, choose) {
  const options = categories.map(({ category }) =>
    element("option", { value: category, selected: category === state.category }, category));
  const select = element(
    "select",
    { "aria-label": text("otherLabel"), onchange: () => choose({ category: select.value || null, probe: "auto" }) },
    element("option", { value: "" }, text("otherCategory")),
    ...options,
  );
  return select;
}
