// Counts down to what is due next, where the sandbox's clock runs; the page comes with how much is left, in words.

export function countDown() {
  setInterval(() => {
    for (const it of document.querySelectorAll("[data-left]")) {
      const left = Math.max(0, it.dataset.left - 1);
      it.dataset.left = left;
      if (left < 3600) it.textContent = left < 60 ? `${left} s` : `${Math.floor(left / 60)} min ${left % 60} s`;
    }
  }, 1000);
}
