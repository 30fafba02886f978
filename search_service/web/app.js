// The search page. The address bar has the state of the search (address.js); `update` shows it.

import { addressOf, go, searchState } from "./address.js";
import { cropBox } from "./crop_box.js";
import { hideDetails, onDetailsClosed, showDetails } from "./details.js";
import { byId, element } from "./elements.js";
import { clearNotice, showError } from "./notice.js";
import { Photo, photoOf } from "./photo.js";
import { listen } from "./picker.js";
import { nameOf, picture, showHits, showNone, showSearching } from "./results.js";
import { getCategories, getItem, searchItem, searchPhoto, searchWords } from "./service.js";
import { text, translate } from "./texts.js";
import { hideVerdict, showVerdict } from "./verdict.js";
import { showWelcome } from "./welcome.js";
import { listenToWords, offerWords, showUnderstood, showWords } from "./words.js";

const HITS = [12, 24, 48, 96];
const EXAMPLES = 4;
const PLACEHOLDERS_AFTER_MS = 150; // faster responses replace the hits without flicker

let categories = [];
let running = new AbortController(); // the running search
let searched = ""; // the search whose hits are shown
let hits = [];

/** Change the search and show it. @param {Partial<import("./address.js").SearchState>} changes */
function follow(changes) {
  go(changes);
  update();
}

/** Show the search of the address bar. */
function update() {
  const state = searchState();
  const photo = photoOf(state.photo);
  if (!photo) state.photo = null; // of an earlier visit
  const hasPicture = Boolean(photo) || state.item !== null;
  const isEmpty = !hasPicture && state.text === null;
  byId("page").dataset.view = isEmpty ? "empty" : "query";
  byId("hits-label").hidden = isEmpty;
  byId("hits").value = String(state.hits);
  byId("choose").textContent = text(hasPicture ? "another" : "choose");
  const key = JSON.stringify([state.photo, photo?.part, state.item, state.text, state.category, state.probe, state.hits]);
  if (key !== searched) {
    searched = key;
    showWords(state, hasPicture);
    running.abort();
    running = new AbortController();
    if (isEmpty) welcome(running.signal);
    else search(state, photo, running.signal);
  }
  showOpenItem(state);
}

async function welcome(signal) {
  byId("shown").hidden = true;
  hideVerdict();
  clearNotice();
  byId("results").removeAttribute("aria-busy");
  showNone();
  await attempt(signal, async () => {
    await loadCategories();
    if (!signal.aborted) showWelcome(categories, (item) => follow({ ...NEW_QUERY, item }), (item) => addressOf({ ...searchState(), ...NEW_QUERY, item }));
  });
}

/** The categories that are searched unless the user chooses others. */
const AUTOMATIC = { category: null, probe: "auto" };

/** The state that a new query starts from. */
const NEW_QUERY = { photo: null, item: null, text: null, ...AUTOMATIC, show: null };

async function search(state, photo, signal) {
  clearNotice();
  showQuery(state, photo);
  byId("results").setAttribute("aria-busy", "true");
  const timer = setTimeout(showSearching, PLACEHOLDERS_AFTER_MS);
  await attempt(signal, async () => {
    const [answer] = await Promise.all([ask(state, photo, signal), loadCategories()]);
    if (signal.aborted) return;
    performance.mark("answered");
    clearTimeout(timer);
    hits = answer.hits;
    clearNotice(true);
    showUnderstood(answer.query);
    showVerdict(answer, state, categories, (scope) => follow({ ...scope, show: null }));
    const isByWords = !photo && state.item === null;
    showHits(answer, isByWords, (show) => follow({ show }), (item) => addressOf({ ...searchState(), ...NEW_QUERY, item }));
    byId("snapshot").textContent = answer.snapshot_id;
    performance.mark("shown");
  });
  clearTimeout(timer);
  if (!signal.aborted) byId("results").removeAttribute("aria-busy");
}

/** Search by the photo, the item or the words alone; words narrow the others. */
async function ask(state, photo, signal) {
  const options = { top_k: state.hits, ...(state.category === null ? { probe: state.probe } : { category: state.category }) };
  if (state.text !== null) options.text = state.text;
  if (photo) return searchPhoto(await photo.toSend(), options, signal);
  return state.item === null ? searchWords(options, signal) : searchItem(state.item, options, signal);
}

/** Call the service; show its error, unless the user has moved on. */
async function attempt(signal, act) {
  try {
    await act();
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === undefined) throw error; // an error of the page itself
    showNone();
    if (error.status === 422) hideVerdict(); // it is of another query
    byId("hits-label").hidden = true;
    showError(error, again);
  }
}

function again() {
  searched = "";
  update();
}

async function loadCategories() {
  if (categories.length > 0) return;
  const answer = await getCategories(EXAMPLES);
  categories = answer.categories;
  offerWords(answer.text_search);
}

/** Show the query. */
function showQuery(state, photo) {
  const figure = byId("shown");
  figure.hidden = !photo && state.item === null;
  if (figure.hidden) {
    if (figure.dataset.name !== "words") hideVerdict();
    figure.dataset.name = "words";
    return;
  }
  const name = photo ? `photo ${photo.number}` : `item ${state.item}`;
  if (figure.dataset.name === name) return;
  figure.dataset.name = name;
  hideVerdict();
  if (photo?.bitmap) figure.replaceChildren(...cropBox(photo, update));
  else if (photo) figure.replaceChildren(element("figcaption", {}, text("noPreview")));
  else showQueryItem(figure, name, state.item);
}

async function showQueryItem(figure, name, itemId) {
  figure.replaceChildren(element("span", { class: "picture" }));
  try {
    const item = await getItem(itemId);
    if (figure.dataset.name !== name) return;
    figure.replaceChildren(picture(item.image_url, nameOf(item), false), element("figcaption", {}, nameOf(item)));
  } catch {
    figure.hidden = true; // the search fails for the same reason, and says so
  }
}

async function showOpenItem({ show }) {
  if (show === null) return hideDetails();
  try {
    const item = await getItem(show);
    if (searchState().show !== show) return;
    const score = hits.find((hit) => hit.item_id === show)?.score ?? null;
    showDetails(item, score, () => {
      follow({ ...NEW_QUERY, item: show });
      scrollTo({ top: 0 });
      byId("results").focus({ preventScroll: true });
    });
  } catch (error) {
    showError(error, again);
  }
}

async function usePhoto(file) {
  const photo = await Photo.open(file);
  follow({ ...NEW_QUERY, photo: photo.number, text: searchState().text });
}

/** Search by words; the category that was chosen for a photo or an item stays. */
function useWords(words) {
  const { photo, item, text: former } = searchState();
  if (words === former) return words === null ? undefined : again();
  follow({ text: words, show: null, ...(photoOf(photo) || item !== null ? {} : AUTOMATIC) });
}

function begin() {
  translate();
  byId("hits").append(...HITS.map((count) => element("option", { value: count }, String(count))));
  byId("hits").addEventListener("change", () => follow({ hits: Number(byId("hits").value) }));
  listen(usePhoto);
  listenToWords(useWords, () => follow({ photo: null, item: null, ...AUTOMATIC }));
  onDetailsClosed(() => {
    if (searchState().show !== null) follow({ show: null });
  });
  addEventListener("popstate", update);
  update();
  performance.mark("ready");
}

begin();
