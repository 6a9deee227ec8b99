"use strict";

const $ = (id) => document.getElementById(id);
let file = null; // the photo on the page, coloured again when an option changes
let run = 0; // only the newest upload may write on the page

function say(text) {
  $("status").textContent = text;
  $("status").hidden = !text;
}

function complain(text) {
  say("");
  if (text) $("result").hidden = true;
  $("error").textContent = text;
  $("error").hidden = !text;
}

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `the server answers ${response.status}`);
  return body;
}

async function color() {
  const mine = ++run;
  complain("");
  $("pair").classList.add("stale"); // what is there belongs to other options, or another photo
  if (file.size > document.body.dataset.megabytes * 1e6) {
    complain(`${file.name}: over ${document.body.dataset.megabytes} megabytes`);
    return;
  }
  try {
    say("Sending…");
    const form = new FormData();
    form.append("model", $("model").value);
    form.append("saturation", $("saturation").value);
    form.append("photo", file);
    const { id } = await answer(await fetch("photos", { method: "POST", body: form }));
    while (mine === run) {
      const { state, ahead, error } = await answer(await fetch(`photos/${id}`));
      if (mine !== run) return;
      if (state === "failed") throw new Error(error);
      if (state === "done") return await show(id, mine);
      say(ahead ? `Waiting: ${ahead} before yours` : "Colouring…");
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  } catch (err) {
    if (mine === run) complain(err instanceof TypeError ? "The server does not answer." : err.message);
  }
}

async function show(id, mine) {
  $("before").src = `photos/${id}/before.jpg`;
  $("after").src = `photos/${id}/after.jpg`;
  await Promise.all([$("before").decode(), $("after").decode()]);
  if (mine !== run) return;
  $("download").href = $("after").src;
  $("download").download = file.name.replace(/\.[^.]*$/, "") + ".color.jpg";
  $("name").textContent = file.name;
  $("pair").classList.remove("stale");
  $("form").classList.add("small");
  $("result").hidden = false;
  say("");
}

function take(files) {
  if (!files.length) return;
  file = files[0];
  color();
}

$("photo").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = ""; // the same file may be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // a photo dropped beside the field must not replace the page
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
$("saturation").addEventListener("input", (event) => {
  $("factor").textContent = Number(event.target.value).toFixed(1);
});
for (const id of ["model", "saturation"])
  $(id).addEventListener("change", () => file && color());
$("slider").addEventListener("input", (event) => {
  $("pair").style.setProperty("--at", event.target.value + "%");
});
