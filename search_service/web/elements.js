// Creation and look-up of page elements.

/** Return the element with this id; throw if there is none. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page has no element #${id}`);
  return node;
}

/**
 * Create an element: `element("a", { href: "/", onclick: go }, "Home")`.
 *
 * Attributes that are false, null or undefined are left out, and so are such children. Text is never parsed as HTML.
 */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Create a bar of a share, 0 to 1, whose length the style sheet takes from `--share`. */
export function bar(share) {
  const node = element("span", { class: "bar", "aria-hidden": "true" });
  node.style.setProperty("--share", String(share)); // the Content-Security-Policy forbids style attributes
  return node;
}
