// Copies what stands before a copy button; the buttons are shown only where this module runs.

export function offerCopies() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const words = button.querySelector("span");
    const usual = words.textContent;
    words.textContent = (await copy(button.previousElementSibling)) ? "Copied" : "Select and copy";
    setTimeout(() => (words.textContent = usual), 1500);
  });
}

async function copy(shown) {
  getSelection().selectAllChildren(shown);
  try {
    await navigator.clipboard.writeText(shown.textContent); // only where the page is trusted: https, or this machine
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
