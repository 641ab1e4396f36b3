// Makes a part of the page equal to a newer one and touches only what differs, so that focus, typed text, unfolded
// details and selections survive. Children are told apart by id.

export function patch(from, to) {
  const known = new Map();
  for (const child of from.children) if (child.id) known.set(child.id, child);
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const same = next.id ? known.get(next.id) : isAlike(at, next) ? at : null;
    if (!same) {
      from.insertBefore(document.importNode(next, true), at);
    } else {
      if (same === at) at = at.nextSibling;
      else from.insertBefore(same, at);
      update(same, next);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function isAlike(node, next) {
  return node && node.nodeName === next.nodeName && !node.id;
}

function update(node, next) {
  if (node.isEqualNode(next)) return;
  if (node.nodeType !== Node.ELEMENT_NODE) {
    node.data = next.data;
    return;
  }
  for (const { name } of [...node.attributes, ...next.attributes]) {
    const value = next.getAttribute(name);
    if (name === "open" || node.getAttribute(name) === value) continue; // a person decides what is unfolded
    if (value === null) node.removeAttribute(name);
    else node.setAttribute(name, value);
  }
  patch(node, next);
}
