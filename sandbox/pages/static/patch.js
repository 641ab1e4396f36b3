// Makes a part of the page equal to a newer one and touches only what differs: focus, selection, what is unfolded and
// what was read out stay. Children are told apart by id.

export function patch(from, to) {
  const known = new Map([...from.children].map((child) => [child.id, child]));
  const wanted = new Set([...to.children].map((child) => child.id));
  let at = from.firstChild;
  const drop = () => {
    at = at.nextSibling;
    (at?.previousSibling ?? from.lastChild).remove();
  };
  for (const next of [...to.childNodes]) {
    const same = next.id ? known.get(next.id) : isAlike(at, next) ? at : null;
    // What is no longer wanted goes first: nothing that stays is moved for it.
    while (same && at && at !== same && !(at.id && wanted.has(at.id))) drop();
    if (!same) {
      from.insertBefore(document.importNode(next, true), at);
    } else {
      if (same === at) at = at.nextSibling;
      else (from.moveBefore ?? from.insertBefore).call(from, same, at);
      update(same, next);
    }
  }
  while (at) drop();
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
    // A person decides what is unfolded, and where the focus is.
    if (name === "open" || name === "tabindex" || node.getAttribute(name) === value) continue;
    if (value === null) node.removeAttribute(name);
    else node.setAttribute(name, value);
  }
  patch(node, next);
}
