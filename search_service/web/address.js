// The state of a search, kept in the address bar, so that links, reloads and the back button work.
//
// A photo is not part of the address: its number is in the history's state, and the photo itself in `photo.js`, until
// the page is closed.

const HITS = 24;
const ROOT = new URL("../", import.meta.url).pathname; // the service may be below a path of a larger site

/**
 * @typedef {object} SearchState
 * @property {number | null} photo number of the photo to search by
 * @property {string | null} item id of the item to search by
 * @property {string | null} text words to search by, alone or beside the photo or item
 * @property {string | null} category to search; null for the predicted one
 * @property {string} probe number of categories to search, or `auto`
 * @property {number} hits largest number of hits
 * @property {string | null} show id of the item whose details are open
 */

/** @returns {SearchState} */
export function searchState() {
  const given = new URLSearchParams(location.search);
  const hits = Number(given.get("hits"));
  const probe = given.get("probe") ?? "";
  return {
    photo: history.state?.photo ?? null,
    item: given.get("item"),
    text: given.get("text") || null,
    category: given.get("category"),
    probe: /^[1-9]\d{0,3}$/.test(probe) ? probe : "auto",
    hits: Number.isInteger(hits) && hits > 0 ? hits : HITS,
    show: given.get("show"),
  };
}

/** Return the address of a search. @param {SearchState} state */
export function addressOf(state) {
  const given = new URLSearchParams();
  const language = new URLSearchParams(location.search).get("lang");
  if (state.item !== null) given.set("item", state.item);
  if (state.text !== null) given.set("text", state.text);
  if (state.category !== null) given.set("category", state.category);
  if (state.probe !== "auto") given.set("probe", state.probe);
  if (state.hits !== HITS) given.set("hits", String(state.hits));
  if (state.show !== null) given.set("show", state.show);
  if (language !== null) given.set("lang", language);
  return given.size ? `${ROOT}?${given}` : ROOT;
}

/** Change the search, as a new entry of the history. @param {Partial<SearchState>} changes */
export function go(changes) {
  const state = { ...searchState(), ...changes };
  history.pushState({ photo: state.photo }, "", addressOf(state));
}
