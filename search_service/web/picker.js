// Input of photos: choosing, taking, dropping and pasting.

import { byId } from "./elements.js";

/** Call `use` with each file that the user chooses, drops or pastes. @param {(file: File) => void} use */
export function listen(use) {
  for (const [button, field] of [["choose", "file"], ["take", "camera"]]) {
    const input = byId(field);
    byId(button).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files.length) use(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  addEventListener("paste", (event) => {
    const file = firstFile(event.clipboardData);
    if (file) use(file);
  });
  listenToDrops(use);
}

function listenToDrops(use) {
  const overlay = byId("dropping");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // otherwise the browser would open the file
    overlay.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) overlay.hidden = true;
  });
  addEventListener("drop", (event) => {
    overlay.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const file = firstFile(event.dataTransfer);
    if (file) use(file);
  });
}

/** Return the first image, or else the first file, which the service will reject with a message. */
function firstFile(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0];
}
