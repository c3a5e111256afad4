// What ipywidgets cannot do: a file dropped on the panel, and Enter in an empty box. Running it twice does no harm.
(() => {
  if (window.photoSearch) return;
  window.photoSearch = true;
  const panel = (event) => event.target instanceof Element && event.target.closest(".photo-search");
  const mark = (on) => document.querySelectorAll(".photo-search").forEach((one) => one.classList.toggle("over", on));

  // Enter in a box whose words are unchanged sends nothing by itself; the button asks again.
  document.addEventListener("keydown", (event) => {
    const box = event.target;
    if (event.key !== "Enter" || !panel(event) || !box.matches(".words input")) return;
    if (box.value === (box.dataset.asked ?? "")) panel(event).querySelector(".mod-primary").click();
    box.dataset.asked = box.value;
  }, true);

  for (const name of ["dragenter", "dragover"])
    document.addEventListener(name, (event) => {
      if (!panel(event) || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      mark(true);
    });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget?.closest?.(".photo-search")) mark(false); });
  document.addEventListener("drop", (event) => {
    mark(false);
    const files = event.dataTransfer?.files;
    if (!panel(event) || !files?.length) return;
    event.preventDefault();
    // The upload button opens the dialog of a file input that is in no document. For the length of this click, the
    // dialog is replaced by its result.
    const one = new DataTransfer();
    one.items.add(files[0]);
    const click = HTMLInputElement.prototype.click;
    HTMLInputElement.prototype.click = function () {
      this.files = one.files;
      this.dispatchEvent(new Event("change"));
    };
    try { panel(event).querySelector(".widget-upload").click(); } finally { HTMLInputElement.prototype.click = click; }
  });
})();
