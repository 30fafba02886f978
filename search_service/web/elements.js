// Making elements of the page.

/** The element of the page with this id; it has to be there. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page has no element #${id}`);
  return node;
}

/**
 * Make an element: `element("a", { href: "/", onclick: go }, "Home")`.
 *
 * Attributes that are false, null or undefined are left out, and so are such children. Text is never read as HTML.
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An element whose length the style sheet draws from `--share`, 0 to 1. */
export function bar(share) {
  const made = element("span", { class: "bar", "aria-hidden": "true" });
  made.style.setProperty("--share", String(share)); // the Content-Security-Policy lets no style attribute through
  return made;
}
