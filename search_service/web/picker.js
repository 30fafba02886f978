// Choosing, taking, dropping and pasting photos.

import { byId } from "./elements.js";

/** Hand every image file that the user gives to `use`. @param {(file: File) => void} use */
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
  const curtain = byId("dropping");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // else the browser would open the file
    curtain.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) curtain.hidden = true;
  });
  addEventListener("drop", (event) => {
    curtain.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const file = firstFile(event.dataTransfer);
    if (file) use(file);
  });
}

/** An image if there is one, else any file: the service reports what is wrong with it. */
function firstFile(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0];
}
