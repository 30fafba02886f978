// The field of words: searches by text alone, or narrows a photo or a product.

import { byId, element } from "./elements.js";
import { text } from "./texts.js";

/**
 * Call back when the user searches, clears, or gives up the photo.
 *
 * @param {(words: string | null) => void} search called with the words, or null when they are cleared
 * @param {() => void} alone called to search by the words without the photo or product
 */
export function listenToWords(search, alone) {
  const field = byId("text");
  byId("words").addEventListener("submit", (event) => {
    event.preventDefault();
    search(field.value.trim() || null);
  });
  field.addEventListener("input", () => {
    const isWordless = field.value.trim() !== "" && !/[\p{L}\p{N}]/u.test(field.value);
    field.setCustomValidity(isWordless ? text("noWords") : ""); // the browser shows it, and submits nothing
    showClear();
  });
  byId("clear-text").addEventListener("click", () => {
    field.value = "";
    field.setCustomValidity("");
    field.focus();
    search(null);
  });
  byId("words-alone").addEventListener("click", () => {
    alone();
    byId("results").focus({ preventScroll: true }); // the button has disappeared
  });
}

/** Show the field if the catalogue can be searched by text. @param {boolean} isPossible */
export function offerWords(isPossible) {
  byId("words").hidden = !isPossible;
  byId("words").dataset.offered = "known"; // until then its place is kept, so that nothing moves
}

/** Show the words of the search. @param {import("./address.js").SearchState} state @param {boolean} hasPicture */
export function showWords(state, hasPicture) {
  const field = byId("text");
  if (document.activeElement !== field || state.text !== null) field.value = state.text ?? "";
  field.placeholder = text(hasPicture ? "narrowHint" : "wordsHint");
  byId("text-label").textContent = text(hasPicture ? "narrow" : "words");
  byId("words-alone").hidden = !(hasPicture && state.text !== null);
  byId("understood").replaceChildren();
  showClear();
}

/** Show how the service understood the words. @param {{text?: string, unknown_words?: string[]}} query of an answer */
export function showUnderstood({ text: understood, unknown_words: unknown }) {
  if (understood === undefined) return;
  const others = unknown.flatMap(plainWords);
  const known = plainWords(byId("text").value).filter((word) => !others.includes(word));
  byId("understood").replaceChildren(
    ...[
      known.join(" ") !== plainWords(understood).join(" ") && element("p", {}, text("understood", { words: understood })),
      unknown.length > 0 && element("p", {}, text("unknownWords", { words: unknown.join(", ") })),
    ].filter(Boolean),
  );
}

/** The words of a text, each once, without the case and accents that don't matter. @param {string} given */
function plainWords(given) {
  const plain = given.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return [...new Set(plain.match(/[\p{L}\p{N}]+/gu) ?? [])];
}

function showClear() {
  byId("clear-text").hidden = byId("text").value === "";
}
