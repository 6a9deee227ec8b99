"use strict";

// The colour editor: hints are kept here, as strokes, and all of them are sent after each change.
// It uses $, answer, changed, complain, current, explained, request and say of page.js.

const canvas = $("canvas");
const editor = {
  on: false,
  tool: "point",
  cross: null, // where the arrow keys are
  pointer: null, // where the mouse is
  stroke: null,
  erased: false, // something, since the eraser was put down
  sending: false,
  again: false,
};

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
  paint();
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

function change(strokes, isSameStep = false) {
  const own = edits();
  if (!isSameStep) own.done.push(own.strokes);
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
      photo.sending = true; // a preview that comes now is an old one
      $("pair").classList.add("stale");
      const response = await fetch(`photos/${photo.id}/hints`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ hints }),
      });
      photo.sending = false;
      if (!response.ok) await answer(response);
      complain("");
      changed(photo);
    } while (editor.again);
  } catch (err) {
    for (const photo of photos) photo.sending = false;
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
        button.addEventListener("click", () => choose(color));
        return button;
      })
    );
  } catch (err) {
    complain(explained(err));
  }
}

// The brush only takes the colour; otherwise it goes to the place that was pointed at.
function choose(color) {
  $("color").value = color;
  const own = edits();
  if (editor.tool === "brush" || !own.chosen) return;
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
  if (kept.length === own.strokes.length) return;
  change(kept, editor.erased); // one way of the eraser is one step to undo
  editor.erased = true;
}

function use(position) {
  editor.erased = false;
  if (editor.tool === "point") suggest(position);
  else if (editor.tool === "eraser") erase(position);
  else change([...edits().strokes, { points: [position], color: $("color").value, radius: radius() }]);
}

// A quick hand sends few events: the way between two of them is filled in.
function extend(stroke, [x, y]) {
  const [lastX, lastY] = stroke.points[stroke.points.length - 1];
  const spacing = Math.max(stroke.radius, Math.max(current.width, current.height) / 250);
  const count = Math.floor(Math.hypot(x - lastX, y - lastY) / spacing);
  for (let i = 1; i <= count; i++)
    stroke.points.push([lastX + ((x - lastX) * i) / count, lastY + ((y - lastY) * i) / count]);
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return; // another button, a second finger
  canvas.setPointerCapture(event.pointerId);
  const position = positionOf(event);
  editor.cross = null;
  if (editor.tool !== "brush") use(position);
  else editor.stroke = { points: [position], color: $("color").value, radius: radius() };
  paint();
});
canvas.addEventListener("pointermove", (event) => {
  if (!event.isPrimary) return;
  const position = positionOf(event);
  if (editor.tool === "eraser" && event.buttons) erase(position);
  if (editor.stroke) extend(editor.stroke, position);
  editor.pointer = event.pointerType === "touch" ? null : position;
  paint();
});
canvas.addEventListener("pointerleave", () => {
  editor.pointer = null;
  paint();
});
canvas.addEventListener("pointerup", (event) => {
  if (editor.stroke && event.isPrimary) change([...edits().strokes, editor.stroke]);
  if (event.isPrimary) editor.stroke = null;
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
  const outline = () => {
    // White on black, to be seen on a white sky too.
    for (const [width, color] of [[4, "#000a"], [2, "#fff"]]) {
      context.lineWidth = width * devicePixelRatio;
      context.strokeStyle = color;
      context.stroke();
    }
  };
  const circle = ([x, y], size, color) => {
    context.beginPath();
    context.arc(x * scale, y * scale, size, 0, 7);
    context.fillStyle = color;
    context.fill();
    outline();
  };
  const line = ({ points, color, radius }) => {
    context.strokeStyle = color;
    context.lineWidth = 2 * radius * scale;
    context.lineCap = context.lineJoin = "round";
    context.globalAlpha = 0.6;
    context.beginPath();
    context.moveTo(points[0][0] * scale, points[0][1] * scale);
    for (const [x, y] of points) context.lineTo(x * scale, y * scale);
    context.stroke();
    context.globalAlpha = 1;
  };
  if (editor.tool === "eraser") own.strokes.forEach(line);
  for (const { points, color } of own.strokes) circle(points[0], 7 * devicePixelRatio, color);
  if (editor.stroke) line(editor.stroke);
  if (own.chosen && editor.tool === "point") circle(own.chosen, 9 * devicePixelRatio, "transparent");
  if (editor.pointer && editor.tool !== "point")
    circle(editor.pointer, radius() * scale, "transparent");
  if (editor.cross) {
    const side = 24 * devicePixelRatio;
    const [x, y] = editor.cross.map((value) => value * scale - side / 2);
    context.beginPath();
    context.rect(x, y, side, side);
    outline();
  }
}

function showReference() {
  $("no-reference").hidden = !current.reference;
  $("no-reference").textContent = `Without ${current.reference}`;
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
    photo.reference = file?.name;
    showReference();
    changed(photo);
  } catch (err) {
    complain(explained(err));
  }
}

function saveHints() {
  const { width, height } = current;
  const content = {
    version: 1,
    photo: current.file.name,
    width,
    height,
    saturation: Number($("saturation").value),
    strokes: edits().strokes,
  };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)]));
  link.download = current.file.name.replace(/\.[^.]*$/, "") + ".hints.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function loadHints(file) {
  try {
    const { width, height, strokes, saturation } = JSON.parse(await file.text());
    const scale = current.width / width;
    if (!Array.isArray(strokes) || !(Math.abs(height * scale - current.height) <= 2))
      throw new Error();
    const loaded = strokes.map(({ points, color, radius }) => {
      if (!/^#[0-9a-f]{6}$/i.test(color) || !(radius >= 0)) throw new Error();
      const place = ([x, y]) => [
        Math.min(x * scale, current.width - 1),
        Math.min(y * scale, current.height - 1),
      ];
      return { points: points.map(place), color, radius: radius * scale };
    });
    if (saturation >= 0) {
      $("saturation").value = saturation;
      $("saturation").dispatchEvent(new Event("input"));
    }
    change(loaded);
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
  if (editor.tool === "point") choose(event.target.value);
});
for (const [id, action] of [["reference", setReference], ["load-hints", loadHints]])
  $(id).addEventListener("change", (event) => {
    if (event.target.files.length) action(event.target.files[0]);
    event.target.value = "";
  });
$("no-reference").addEventListener("click", () => setReference(null));
$("save-hints").addEventListener("click", saveHints);
for (const kind of ["dragover", "dragleave", "drop"])
  $("more").addEventListener(kind, () => $("other").classList.toggle("over", kind === "dragover"));
$("more").addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length) setReference(event.dataTransfer.files[0]);
});
document.addEventListener("photochange", () => {
  $("swatches").replaceChildren();
  showReference();
  editor.cross = editor.stroke = editor.pointer = null;
  paint();
});
$("after").addEventListener("load", paint);
new ResizeObserver(paint).observe($("pair"));
