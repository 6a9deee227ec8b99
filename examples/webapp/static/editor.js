"use strict";

// The colour editor: hints are kept here, as strokes, and all of them are sent after each change.
// It uses $, answer, changed, complain, current, explained, request and say of page.js.

const canvas = $("canvas");
const editor = { on: false, tool: "point", cross: null, stroke: null, sending: false, again: false };

const edits = () => (current.edits ??= { strokes: [], done: [], undone: [], chosen: null });

function setEditing(on) {
  editor.on = on;
  $("edit").setAttribute("aria-pressed", String(on));
  $("editor").hidden = $("more").hidden = canvas.hidden = !on;
  $("slider").hidden = on;
  $("pair").classList.toggle("editing", on);
  $("pair").style.setProperty("--at", on ? "0%" : $("slider").value + "%");
  paint();
}

function setTool(tool) {
  editor.tool = tool;
  for (const button of document.querySelectorAll("[data-tool]"))
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
}

// Positions are pixels of the photo; a brush's size is in pixels of the screen.
function positionOf(event) {
  const box = canvas.getBoundingClientRect();
  const clamp = (value, size) => Math.min(Math.max(value, 0), size - 1);
  return [
    clamp(((event.clientX - box.left) / box.width) * current.width, current.width),
    clamp(((event.clientY - box.top) / box.height) * current.height, current.height),
  ];
}

const radius = () =>
  (Number($("size").value) * current.width) / canvas.getBoundingClientRect().width;

function change(strokes) {
  const own = edits();
  own.done.push(own.strokes);
  own.undone = [];
  own.strokes = strokes;
  sendHints();
}

function step(source, target) {
  const own = edits();
  if (!own[source].length) return;
  own[target].push(own.strokes);
  own.strokes = own[source].pop();
  sendHints();
}

async function sendHints() {
  paint();
  if (editor.sending) {
    editor.again = true;
    return;
  }
  editor.sending = true;
  try {
    do {
      editor.again = false;
      const photo = current;
      const hints = photo.edits.strokes.flatMap(({ points, color, radius }) =>
        points.map(([x, y]) => ({ x, y, color, radius }))
      );
      $("pair").classList.add("stale");
      const response = await fetch(`photos/${photo.id}/hints`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ hints }),
      });
      if (!response.ok) await answer(response);
      complain("");
      changed(photo);
    } while (editor.again);
  } catch (err) {
    $("pair").classList.remove("stale");
    complain(explained(err));
  } finally {
    editor.sending = false;
  }
}

async function suggest([x, y]) {
  const photo = current;
  edits().chosen = [x, y];
  paint();
  try {
    const found = await request(`photos/${photo.id}/suggestions?x=${x}&y=${y}`);
    if (photo !== current) return;
    $("swatches").replaceChildren(
      ...found.map(({ color, probability }) => {
        const button = document.createElement("button");
        const percent = Math.round(100 * probability);
        button.type = "button";
        button.className = "swatch";
        button.style.background = color;
        button.title = `${color}, ${percent} %`;
        button.setAttribute("aria-label", `Colour ${color}, ${percent} percent probable`);
        button.addEventListener("click", () => setPoint(color));
        return button;
      })
    );
  } catch (err) {
    complain(explained(err));
  }
}

function setPoint(color) {
  const own = edits();
  if (!own.chosen) return;
  $("color").value = color;
  const [x, y] = own.chosen;
  const isHere = (stroke) => stroke.points.length === 1 && stroke.points[0].join() === `${x},${y}`;
  const point = { points: [[x, y]], color, radius: radius() / 2 };
  change([...own.strokes.filter((stroke) => !isHere(stroke)), point]);
}

function erase([x, y]) {
  const own = edits();
  const reach = radius();
  const isNear = (stroke) =>
    stroke.points.some(([px, py]) => Math.hypot(px - x, py - y) <= reach + stroke.radius);
  const kept = own.strokes.filter((stroke) => !isNear(stroke));
  if (kept.length < own.strokes.length) change(kept);
}

function use(position) {
  editor.cross = position;
  if (editor.tool === "point") suggest(position);
  else if (editor.tool === "eraser") erase(position);
  else change([...edits().strokes, { points: [position], color: $("color").value, radius: radius() }]);
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  const position = positionOf(event);
  editor.cross = null;
  if (editor.tool !== "brush") use(position);
  else editor.stroke = { points: [position], color: $("color").value, radius: radius() };
  paint();
});
canvas.addEventListener("pointermove", (event) => {
  if (editor.tool === "eraser" && event.buttons) erase(positionOf(event));
  const { stroke } = editor;
  if (!stroke) return;
  const [x, y] = positionOf(event);
  const [lastX, lastY] = stroke.points[stroke.points.length - 1];
  if (Math.hypot(x - lastX, y - lastY) >= stroke.radius / 2) stroke.points.push([x, y]);
  paint();
});
canvas.addEventListener("pointerup", () => {
  if (editor.stroke) change([...edits().strokes, editor.stroke]);
  editor.stroke = null;
});
canvas.addEventListener("pointercancel", () => {
  editor.stroke = null;
  paint();
});
canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const { width, height } = current;
  const [x, y] = editor.cross ?? [Math.floor(width / 2), Math.floor(height / 2)];
  if (moves[event.key]) {
    const by = (event.shiftKey ? 0.005 : 0.02) * Math.max(width, height);
    const [dx, dy] = moves[event.key];
    editor.cross = [
      Math.min(Math.max(x + dx * by, 0), width - 1),
      Math.min(Math.max(y + dy * by, 0), height - 1),
    ];
    paint();
  } else if (event.key === "Enter" || event.key === " ") use([x, y]);
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (!editor.on || !current || !(event.ctrlKey || event.metaKey)) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) step("done", "undone");
  else if (key === "y" || key === "z") step("undone", "done");
  else return;
  event.preventDefault();
});

function paint() {
  if (!editor.on || !current) return;
  const own = edits();
  $("undo").disabled = !own.done.length;
  $("redo").disabled = !own.undone.length;
  const box = canvas.getBoundingClientRect();
  canvas.width = box.width * devicePixelRatio;
  canvas.height = box.height * devicePixelRatio;
  const scale = canvas.width / current.width;
  const context = canvas.getContext("2d");
  const circle = ([x, y], size, color) => {
    context.beginPath();
    context.arc(x * scale, y * scale, size, 0, 7);
    context.lineWidth = 2 * devicePixelRatio;
    context.strokeStyle = "#fff";
    context.stroke();
    context.fillStyle = color;
    context.fill();
  };
  for (const { points, color } of own.strokes) circle(points[0], 5 * devicePixelRatio, color);
  if (editor.stroke) {
    context.strokeStyle = editor.stroke.color;
    context.lineWidth = 2 * editor.stroke.radius * scale;
    context.lineCap = context.lineJoin = "round";
    context.globalAlpha = 0.6;
    context.beginPath();
    for (const [x, y] of editor.stroke.points) context.lineTo(x * scale, y * scale);
    context.stroke();
    context.globalAlpha = 1;
  }
  if (own.chosen) circle(own.chosen, 4 * devicePixelRatio, "transparent");
  if (editor.cross) {
    const [x, y] = editor.cross.map((value) => value * scale);
    context.strokeStyle = "#fff";
    context.lineWidth = 2 * devicePixelRatio;
    context.strokeRect(x - 8, y - 8, 16, 16);
  }
}

async function setReference(file) {
  const photo = current;
  const form = new FormData();
  if (file) form.append("photo", file);
  try {
    say("Looking at the other photo…");
    const response = await fetch(`photos/${photo.id}/reference`, { method: "POST", body: form });
    if (!response.ok) await answer(response);
    say("");
    complain("");
    photo.hasReference = Boolean(file);
    $("no-reference").hidden = !file;
    changed(photo);
  } catch (err) {
    complain(explained(err));
  }
}

function saveHints() {
  const { width, height } = current;
  const content = { version: 1, photo: current.file.name, width, height, strokes: edits().strokes };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)]));
  link.download = current.file.name.replace(/\.[^.]*$/, "") + ".hints.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function loadHints(file) {
  try {
    const { width, height, strokes } = JSON.parse(await file.text());
    const scale = current.width / width;
    if (!Array.isArray(strokes) || Math.abs(height * scale - current.height) > 2) throw new Error();
    change(
      strokes.map(({ points, color, radius }) => ({
        points: points.map(([x, y]) => [
          Math.min(x * scale, current.width - 1),
          Math.min(y * scale, current.height - 1),
        ]),
        color,
        radius: radius * scale,
      }))
    );
  } catch {
    complain(`${file.name}: not the hints of a photo of this shape`);
  }
}

$("edit").addEventListener("click", () => setEditing(!editor.on));
for (const button of document.querySelectorAll("[data-tool]"))
  button.addEventListener("click", () => setTool(button.dataset.tool));
$("undo").addEventListener("click", () => step("done", "undone"));
$("redo").addEventListener("click", () => step("undone", "done"));
$("color").addEventListener("change", (event) => {
  if (editor.tool === "point") setPoint(event.target.value);
});
for (const [id, action] of [["reference", setReference], ["load-hints", loadHints]])
  $(id).addEventListener("change", (event) => {
    if (event.target.files.length) action(event.target.files[0]);
    event.target.value = "";
  });
$("no-reference").addEventListener("click", () => setReference(null));
$("save-hints").addEventListener("click", saveHints);
$("more").addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length) setReference(event.dataTransfer.files[0]);
});
document.addEventListener("photochange", () => {
  $("swatches").replaceChildren();
  $("no-reference").hidden = !current.hasReference;
  editor.cross = editor.stroke = null;
  paint();
});
$("after").addEventListener("load", paint);
new ResizeObserver(paint).observe($("pair"));
