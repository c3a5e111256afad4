// What a page cannot do without a script: a photo dropped or pasted anywhere, and selectors that ask at once.
const search = document.getElementById("search");
const upload = document.getElementById("upload");
const file = document.querySelector('input[type="file"]');
const message = document.querySelector(".message");

// The token has done its work; whoever copies the address shall not copy it.
const address = new URL(location);
if (address.searchParams.has("token")) {
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}

function take(files) {
  if (!files.length) return;
  if (files[0].size > upload.dataset.largest) {
    message.textContent = `${files[0].name} is larger than ${upload.dataset.largest / 2 ** 20} MB; make it smaller first.`;
    message.hidden = false;
    return;
  }
  if (file.files !== files) {
    const one = new DataTransfer();
    one.items.add(files[0]);
    file.files = one.files;
  }
  for (const name of ["words", "without"]) upload.elements[name].value = search.elements[name].value;
  upload.requestSubmit();
}

file.addEventListener("change", () => take(file.files));
document.addEventListener("paste", (event) => {
  if (!event.clipboardData.files.length) return; // words are pasted as everywhere
  event.preventDefault();
  take(event.clipboardData.files);
});
for (const name of ["dragenter", "dragover"])
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("over");
  });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  document.body.classList.remove("over");
  if (!event.dataTransfer?.files.length) return;
  event.preventDefault();
  take(event.dataTransfer.files);
});

for (const select of search.querySelectorAll("select")) select.addEventListener("change", () => search.requestSubmit());
for (const form of document.forms) form.addEventListener("submit", () => document.body.classList.add("busy"));
// A page that comes back from the browser's memory is not busy, and has no photo in hand.
addEventListener("pageshow", () => { document.body.classList.remove("busy"); file.value = ""; });
