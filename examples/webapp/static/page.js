"use strict";

const $ = (id) => document.getElementById(id);
const limit = Number(document.body.dataset.megabytes) * 1e6;
const photos = []; // { file, id, state, button }: what the visitor sent from this page
let current = null; // the photo that is shown
let drawing = false; // one preview is on its way
let wanted = ""; // the address of the preview that is to be shown last

function say(text) {
  $("status").textContent = text;
  $("status").hidden = !text;
}

function complain(text) {
  say("");
  $("error").textContent = text;
  $("error").hidden = !text;
}

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new Error(body.error || `the server answers ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return body;
}

const explained = (err) => (err instanceof TypeError ? "The server does not answer." : err.message);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function request(url, options) {
  for (let tries = 0; ; tries++) {
    try {
      return await answer(await fetch(url, options));
    } catch (err) {
      if (err.status !== 503 || tries >= 20) throw err;
      say("Many photos are waiting; trying again…");
      await pause(1500);
    }
  }
}

async function untilDone(photo) {
  for (;;) {
    const { state, ahead, error, width, height } = await request(`photos/${photo.id}`);
    if (state === "failed") throw new Error(error);
    photo.width = width;
    photo.height = height;
    if (state === "done") return;
    say(ahead ? `${photo.file.name}: waiting, ${ahead} before it` : `${photo.file.name}: colouring…`);
    await pause(300);
  }
}

async function send(photo) {
  const { file } = photo;
  if (file.size === 0) throw new Error(`${file.name}: the file is empty`);
  if (file.size > limit)
    throw new Error(`${file.name}: over ${document.body.dataset.megabytes} megabytes`);
  say(`${file.name}: sending…`);
  const form = new FormData();
  form.append("model", $("model").value);
  form.append("photo", file);
  ({ id: photo.id } = await request("photos", { method: "POST", body: form }));
  await untilDone(photo);
}

// One after the other: a visitor with forty photos does not fill the queue for the others.
let sending = Promise.resolve();
function take(files) {
  complain("");
  for (const file of files)
    sending = sending.then(async () => {
      const photo = { file };
      try {
        await send(photo);
        photos.push(photo);
        list(photo);
        show(photo);
        say("");
      } catch (err) {
        complain(explained(err));
      }
    });
}

function list(photo) {
  const button = document.createElement("button");
  const image = document.createElement("img");
  button.type = "button";
  image.src = `photos/${photo.id}/before.jpg`;
  image.alt = photo.file.name;
  button.title = photo.file.name;
  button.append(image);
  button.addEventListener("click", () => show(photo));
  photo.button = button;
  $("photos").append(button);
  $("photos").hidden = photos.length < 2;
}

function show(photo) {
  current = photo;
  for (const other of photos) other.button.setAttribute("aria-pressed", String(other === photo));
  $("name").textContent = photo.file.name;
  $("form").classList.add("small");
  $("result").hidden = false;
  $("pair").classList.add("stale");
  document.dispatchEvent(new Event("photochange"));
  $("before").src = `photos/${photo.id}/before.jpg`;
  draw();
}

// Ask for the preview of the newest settings, one at a time: while a slider moves, those in
// between are passed over.
async function draw() {
  if (!current) return;
  wanted = `photos/${current.id}/after.jpg?saturation=${$("saturation").value}&v=${current.version || 0}`;
  setDownload();
  if (drawing) return;
  drawing = true;
  try {
    while (wanted && $("after").getAttribute("src") !== wanted) {
      const url = wanted;
      const image = new Image();
      image.src = url;
      await image.decode();
      if (url !== wanted) continue;
      $("after").src = url;
      await Promise.all([$("after").decode(), $("before").decode()]);
    }
    if (!current?.sending) $("pair").classList.remove("stale");
  } catch {
    if (current) await explainLoss();
  } finally {
    drawing = false;
  }
}

function changed(photo) {
  photo.version = (photo.version || 0) + 1; // another address, so that the browser asks again
  if (photo === current) draw();
}

async function explainLoss() {
  try {
    await answer(await fetch(`photos/${current.id}`));
    complain("The preview could not be loaded; please try again.");
  } catch (err) {
    complain(explained(err));
  }
}

function setDownload() {
  const [suffix, depth] = $("format").value.split("-");
  const query = `saturation=${$("saturation").value}${depth ? `&depth=${depth}` : ""}`;
  $("download").href = `photos/${current.id}/result.${suffix}?${query}`;
}

async function changeModel() {
  const photo = current;
  if (!photo) return;
  complain("");
  $("pair").classList.add("stale");
  try {
    const form = new FormData();
    form.append("model", $("model").value);
    await request(`photos/${photo.id}/model`, { method: "POST", body: form });
    await untilDone(photo);
    changed(photo);
    say("");
  } catch (err) {
    complain(explained(err));
  }
  if (photo === current) draw();
}

async function remove() {
  const photo = current;
  try {
    await fetch(`photos/${photo.id}`, { method: "DELETE" });
  } catch (err) {
    complain(explained(err));
    return;
  }
  photo.button.remove();
  photos.splice(photos.indexOf(photo), 1);
  $("photos").hidden = photos.length < 2;
  current = null;
  wanted = "";
  if (photos.length) {
    show(photos[photos.length - 1]);
    return;
  }
  $("result").hidden = true;
  $("before").removeAttribute("src");
  $("after").removeAttribute("src");
  $("form").classList.remove("small");
  say(`${photo.file.name} was deleted from the server.`);
}

$("photo").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = ""; // the same file may be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // a photo dropped beside the field must not replace the page
    const elsewhere = event.target.closest?.("#more"); // there it is a photo to take colours from
    $("drop").classList.toggle("over", kind === "dragover" && !elsewhere);
    if (kind === "drop" && !elsewhere) take([...event.dataTransfer.files]);
  });
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) take(files);
});
$("saturation").addEventListener("input", (event) => {
  $("factor").textContent = Number(event.target.value).toFixed(1);
  draw();
});
$("format").addEventListener("change", () => current && setDownload());
$("model").addEventListener("change", changeModel);
$("delete").addEventListener("click", remove);
$("slider").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.target.value = Number(event.target.value) + step;
  event.target.dispatchEvent(new Event("input"));
});
$("slider").addEventListener("input", (event) => {
  $("pair").style.setProperty("--at", event.target.value + "%");
});
