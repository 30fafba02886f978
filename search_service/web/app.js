// The search page. The address bar says what is looked for (address.js); `update` brings the page in line with it.

import { addressOf, go, wish } from "./address.js";
import { cropBox } from "./crop_box.js";
import { hideDetails, onDetailsClosed, showDetails } from "./details.js";
import { byId, element } from "./elements.js";
import { clearNotice, showError } from "./notice.js";
import { Photo, photoOf } from "./photo.js";
import { listen } from "./picker.js";
import { nameOf, picture, showHits, showNone, showSearching } from "./results.js";
import { getCategories, getItem, searchItem, searchPhoto } from "./service.js";
import { text, translate } from "./texts.js";
import { hideVerdict, showVerdict } from "./verdict.js";
import { showWelcome } from "./welcome.js";

const HITS = [12, 24, 48, 96];
const EXAMPLES = 4;
const PATIENCE_MS = 150; // an answer that comes sooner replaces what is there without a flicker

let categories = [];
let running = new AbortController(); // the search that is under way
let searched = ""; // what the page shows the answer to
let hits = [];

/** Go somewhere and show it. @param {Partial<import("./address.js").Wish>} changes */
function follow(changes) {
  go(changes);
  update();
}

/** Bring the page in line with the address. */
function update() {
  const wanted = wish();
  const photo = photoOf(wanted.photo);
  const isEmpty = !photo && wanted.item === null;
  byId("page").dataset.view = isEmpty ? "empty" : "query";
  byId("hits-label").hidden = isEmpty;
  byId("hits").value = String(wanted.hits);
  byId("choose").textContent = text(isEmpty ? "choose" : "another");
  const key = JSON.stringify([wanted.photo, photo?.part, wanted.item, wanted.category, wanted.probe, wanted.hits]);
  if (key !== searched) {
    searched = key;
    running.abort();
    running = new AbortController();
    if (isEmpty) welcome(running.signal);
    else search(wanted, photo, running.signal);
  }
  showOpenItem(wanted);
}

async function welcome(signal) {
  byId("shown").hidden = true;
  hideVerdict();
  clearNotice();
  byId("results").removeAttribute("aria-busy");
  showNone();
  await attempt(signal, async () => {
    await loadCategories();
    if (!signal.aborted) showWelcome(categories, (item) => follow({ ...NOWHERE, item }), (item) => addressOf({ ...wish(), ...NOWHERE, item }));
  });
}

/** What a new query begins with. */
const NOWHERE = { photo: null, item: null, category: null, probe: "auto", show: null };

async function search(wanted, photo, signal) {
  clearNotice();
  showQuery(wanted, photo);
  byId("results").setAttribute("aria-busy", "true");
  const patience = setTimeout(showSearching, PATIENCE_MS);
  await attempt(signal, async () => {
    const options = { top_k: wanted.hits, ...(wanted.category === null ? { probe: wanted.probe } : { category: wanted.category }) };
    const answering = photo ? searchPhoto(await photo.toSend(), options, signal) : searchItem(wanted.item, options, signal);
    const [answer] = await Promise.all([answering, loadCategories()]);
    if (signal.aborted) return;
    performance.mark("answered");
    clearTimeout(patience);
    hits = answer.hits;
    clearNotice(true);
    showVerdict(answer, wanted, categories, (where) => follow({ ...where, show: null }));
    showHits(answer, (show) => follow({ show }), (item) => addressOf({ ...wish(), ...NOWHERE, item }));
    byId("snapshot").textContent = answer.snapshot_id;
    performance.mark("shown");
  });
  clearTimeout(patience);
  if (!signal.aborted) byId("results").removeAttribute("aria-busy");
}

/** Do something with the service; what fails is shown, unless the user has moved on. */
async function attempt(signal, act) {
  try {
    await act();
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === undefined) throw error; // a fault of the page's own
    showNone();
    byId("hits-label").hidden = true;
    showError(error, again);
  }
}

function again() {
  searched = "";
  update();
}

async function loadCategories() {
  if (categories.length === 0) categories = (await getCategories(EXAMPLES)).categories;
}

/** Show what is searched by. */
function showQuery(wanted, photo) {
  const place = byId("shown");
  const name = photo ? `photo ${photo.number}` : `item ${wanted.item}`;
  place.hidden = false;
  if (place.dataset.name === name) return;
  place.dataset.name = name;
  hideVerdict();
  if (photo?.bitmap) place.replaceChildren(...cropBox(photo, update));
  else if (photo) place.replaceChildren(element("figcaption", {}, text("noPreview")));
  else showQueryItem(place, name, wanted.item);
}

async function showQueryItem(place, name, itemId) {
  place.replaceChildren(element("span", { class: "picture" }));
  try {
    const item = await getItem(itemId);
    if (place.dataset.name !== name) return;
    place.replaceChildren(picture(item.image_url, nameOf(item), false), element("figcaption", {}, nameOf(item)));
  } catch {
    place.hidden = true; // the search fails for the same reason, and says so
  }
}

async function showOpenItem({ show }) {
  if (show === null) return hideDetails();
  try {
    const item = await getItem(show);
    if (wish().show !== show) return;
    const score = hits.find((hit) => hit.item_id === show)?.score ?? null;
    showDetails(item, score, () => {
      follow({ ...NOWHERE, item: show });
      scrollTo({ top: 0 });
      byId("results").focus({ preventScroll: true });
    });
  } catch (error) {
    showError(error, again);
  }
}

async function usePhoto(file) {
  const photo = await Photo.open(file);
  follow({ ...NOWHERE, photo: photo.number });
}

function begin() {
  translate();
  byId("hits").append(...HITS.map((count) => element("option", { value: count }, String(count))));
  byId("hits").addEventListener("change", () => follow({ hits: Number(byId("hits").value) }));
  listen(usePhoto);
  onDetailsClosed(() => {
    if (wish().show !== null) follow({ show: null });
  });
  addEventListener("popstate", update);
  update();
  performance.mark("ready");
}

begin();
