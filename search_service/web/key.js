// The API key, if the service requires one: requested once, kept until this tab is closed.

import { byId } from "./elements.js";

const NAME = "parecido-key";

/** Return the headers with the API key. */
export function keyHeaders() {
  const key = sessionStorage.getItem(NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export const hasKey = () => sessionStorage.getItem(NAME) !== null;

/** Ask for a key. @returns {Promise<boolean>} true if there is one now */
export function askForKey() {
  const dialog = byId("key");
  const field = byId("key-value");
  if (dialog.open) return closed(dialog, field);
  sessionStorage.removeItem(NAME); // if there was one, it was rejected
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return closed(dialog, field);
}

function closed(dialog, field) {
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        if (field.value) sessionStorage.setItem(NAME, field.value);
        resolve(field.value !== "");
      },
      { once: true },
    );
  });
}
