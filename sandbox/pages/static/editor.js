// A error about a scenario leads to its place in the text.

const text = document.querySelector(".editor textarea");
document.querySelector(".errors")?.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-line]");
  if (!text || !link) return;
  event.preventDefault();
  const lines = text.value.split("\n");
  const before = lines.slice(0, link.dataset.line - 1);
  const line = [...(lines[before.length] ?? "")]; // columns count characters, a selection UTF-16 units
  const at = [...before, line.slice(0, link.dataset.column - 1).join("")].join("\n").length;
  text.focus();
  text.setSelectionRange(at, at + 1);
  text.scrollTop = (text.scrollHeight / lines.length) * (before.length - 4);
});
