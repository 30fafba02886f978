// The crop box on the photo, drawn, moved and resized by pointer or keys.

import { element } from "./elements.js";
import { FULL } from "./photo.js";
import { text } from "./texts.js";

const MIN_SIZE = 0.05; // of the photo's width and height
const STEP = 0.05; // per arrow key
const PAUSE_MS = 350; // after the last key

/** @typedef {import("./photo.js").Part} Part */

/**
 * Return the photo with its box.
 *
 * @param {import("./photo.js").Photo} photo
 * @param {() => void} changed called when the user has chosen another part
 */
export function cropBox(photo, changed) {
  const handles = ["nw", "ne", "sw", "se"].map((corner) => element("span", { class: "handle", "data-corner": corner }));
  const box = element("div", { class: "box", tabindex: "0", role: "group", "aria-label": text("cropLabel") }, ...handles);
  const frame = element(
    "div",
    { class: "frame" },
    element("img", {
      src: photo.url, alt: text("yourPhoto"), width: photo.bitmap.width, height: photo.bitmap.height, draggable: "false",
    }),
    box,
  );
  const reset = element("button", { type: "button", class: "link" }, text("fullPhoto"));
  const hint = element("span", { class: "hint" }, text("cropHint"));
  const caption = element("figcaption", {}, hint, reset);

  const draw = (part) => {
    photo.part = part;
    for (const side of ["x", "y", "width", "height"]) box.style.setProperty(`--${side}`, String(part[side]));
    box.classList.toggle("full", photo.isFull);
    reset.hidden = photo.isFull;
    hint.hidden = !photo.isFull;
  };
  draw(photo.part);
  reset.addEventListener("click", () => {
    draw(FULL);
    box.focus();
    changed();
  });
  followPointer(frame, photo, draw, changed);
  followKeys(box, photo, draw, changed);
  return [frame, caption];
}

function followPointer(frame, photo, draw, changed) {
  frame.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    const before = photo.part;
    const start = pointIn(event, frame);
    const next = gesture(event.target, photo, start);
    const move = (moved) => draw(next(pointIn(moved, frame)));
    const end = () => {
      frame.removeEventListener("pointermove", move);
      if (photo.part.width < MIN_SIZE || photo.part.height < MIN_SIZE) draw(before); // a click, not a drag
      else if (photo.part !== before) changed();
    };
    frame.setPointerCapture(event.pointerId);
    frame.addEventListener("pointermove", move);
    frame.addEventListener("lostpointercapture", end, { once: true });
  });
}

/** Return the effect of dragging: a corner resizes the box, its inside moves it, elsewhere a new box is drawn. */
function gesture(target, photo, start) {
  const { x, y, width, height } = photo.part;
  const corner = target.dataset.corner;
  if (corner) {
    const fixed = { x: corner.endsWith("w") ? x + width : x, y: corner.startsWith("n") ? y + height : y };
    return (now) => between(fixed, now);
  }
  if (target.classList.contains("box") && !photo.isFull) {
    return (now) => moved(photo.part, x + now.x - start.x, y + now.y - start.y);
  }
  return (now) => between(start, now);
}

function followKeys(box, photo, draw, changed) {
  const directions = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  let timer = 0;
  box.addEventListener("keydown", (event) => {
    if (!(event.key in directions)) return;
    event.preventDefault();
    const [right, down] = directions[event.key];
    const { part } = photo;
    draw(event.shiftKey ? resized(part, right, down) : moved(part, part.x + right, part.y + down));
    clearTimeout(timer);
    timer = setTimeout(changed, PAUSE_MS);
  });
}

/** Return the position of an event, as shares of the frame. */
function pointIn(event, frame) {
  const { left, top, width, height } = frame.getBoundingClientRect();
  return { x: clamp((event.clientX - left) / width, 0, 1), y: clamp((event.clientY - top) / height, 0, 1) };
}

/** @returns {Part} */
const between = (a, b) => ({
  x: Math.min(a.x, b.x),
  y: Math.min(a.y, b.y),
  width: Math.abs(a.x - b.x),
  height: Math.abs(a.y - b.y),
});

/** @returns {Part} */
const moved = (part, x, y) => ({ ...part, x: clamp(x, 0, 1 - part.width), y: clamp(y, 0, 1 - part.height) });

/** @returns {Part} */
const resized = (part, right, down) => ({
  ...part,
  width: clamp(part.width + right, 2 * MIN_SIZE, 1 - part.x),
  height: clamp(part.height + down, 2 * MIN_SIZE, 1 - part.y),
});

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
