// What is looked for, as the address bar has it, so that a link, a reload and the back button keep it.
//
// A photo is no part of an address: its number is kept in the history's state, and the photo itself in `photo.js`,
// until the page is closed.

const HITS = 24;
const ROOT = new URL("../", import.meta.url).pathname; // the service may be found below a path of a larger site

/**
 * @typedef {object} Wish
 * @property {number | null} photo number of the photo to search by
 * @property {string | null} item id of the item to search by
 * @property {string | null} category to search; null for what the service predicts
 * @property {string} probe how many categories: a number, or `auto` for as many as it takes
 * @property {number} hits how many at most
 * @property {string | null} show id of the item whose details are open
 */

/** @returns {Wish} */
export function wish() {
  const given = new URLSearchParams(location.search);
  const hits = Number(given.get("hits"));
  const probe = given.get("probe") ?? "";
  return {
    photo: history.state?.photo ?? null,
    item: given.get("item"),
    category: given.get("category"),
    probe: /^[1-9]\d{0,3}$/.test(probe) ? probe : "auto",
    hits: Number.isInteger(hits) && hits > 0 ? hits : HITS,
    show: given.get("show"),
  };
}

/** The address of a wish. @param {Wish} wanted */
export function addressOf(wanted) {
  const given = new URLSearchParams();
  const language = new URLSearchParams(location.search).get("lang");
  if (wanted.item !== null) given.set("item", wanted.item);
  if (wanted.category !== null) given.set("category", wanted.category);
  if (wanted.probe !== "auto") given.set("probe", wanted.probe);
  if (wanted.hits !== HITS) given.set("hits", String(wanted.hits));
  if (wanted.show !== null) given.set("show", wanted.show);
  if (language !== null) given.set("lang", language);
  return given.size ? `${ROOT}?${given}` : ROOT;
}

/** Go on from here, as a new entry of the history. @param {Partial<Wish>} changes */
export function go(changes) {
  const wanted = { ...wish(), ...changes };
  history.pushState({ photo: wanted.photo }, "", addressOf(wanted));
}
