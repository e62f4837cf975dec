// The page of pose_label: photographs, the objects in them, and what is done to their poses.

import { get, picture, post } from "./api.js";
import { Outline } from "./outline.js";
import { mark, Points } from "./points.js";
import { initial, moved, scaled, turned } from "./pose.js";

const element = (id) => document.getElementById(id);
const canvas = element("photo");
const COLORS = { accept: "#3ddc6c", doubt: "#ffb020", reject: "#ff5050" };
const VERDICTS = { accept: "accepted", doubt: "to be judged", reject: "rejected" };
const TURN_PER_PX = 0.008; // radians
const CHECK_AFTER_MS = 400; // of rest

const state = {
  photos: [],
  models: new Map(), // by name: what there is to know of an object
  outlines: new Map(), // by name
  number: 0,
  photo: null, // size, intrinsics
  image: null,
  objects: [], // of the photograph, as the server has them
  chosen: 0,
  history: [], // what undo goes back to: { number, objects, isSaved }
  isHidden: false,
  isChanged: false, // since the server kept the objects
};
const points = new Points(element, 400, showPoints);
let checking = null; // timer
let queue = Promise.resolve(); // requests that change something, one after another

function say(text, isError = false) {
  element("status").textContent = text;
  element("status").className = isError ? "error" : "";
}

// Run something that asks the server, after what was asked before; say what it does, and what went wrong.
function work(text, action) {
  queue = queue.then(async () => {
    say(text);
    try {
      say((await action()) ?? "Ready");
    } catch (error) {
      say(error.message, true);
    }
  });
  return queue;
}

const chosen = () => state.objects[state.chosen];
const centre = () => state.models.get(chosen().object).centre;
const clone = (objects) => structuredClone(objects);

function remember(isSaved = false) {
  state.history.push({ number: state.number, objects: clone(state.objects), isSaved });
}

// --- drawing -------------------------------------------------------------------------------------------------------

function draw() {
  const context = canvas.getContext("2d");
  if (!state.image) return;
  context.drawImage(state.image, 0, 0);
  const width = Math.max(1, state.photo.width / 500);
  state.objects.forEach((item, row) => {
    if (state.isHidden || (item.verdict === "reject" && row !== state.chosen)) return;
    const outline = state.outlines.get(item.object);
    if (!outline) return;
    const isChosen = row === state.chosen;
    if (isChosen) outline.draw(context, item.pose, state.photo.intrinsics, "black", 2.2 * width);
    outline.draw(context, item.pose, state.photo.intrinsics, COLORS[item.verdict], isChosen ? 1.4 * width : width);
  });
  if (!element("points").hidden) {
    points.pairs.forEach((pair, index) => mark(context, ...pair.photo, String(index + 1)));
  }
}

function figures(item) {
  const residual = item.residual_px === null ? "residual unknown" : `residual ${item.residual_px.toFixed(1)} px`;
  return `${residual}, probability ${item.probability.toFixed(2)}`;
}

function show() {
  element("objects").replaceChildren(
    ...state.objects.map((item, row) => {
      const button = document.createElement("button");
      const [name, verdict, numbers] = ["span", "span", "small"].map((tag) => document.createElement(tag));
      name.textContent = item.object;
      verdict.textContent = VERDICTS[item.verdict];
      numbers.textContent = figures(item);
      button.append(name, verdict, numbers);
      button.setAttribute("aria-pressed", String(row === state.chosen));
      button.addEventListener("click", () => choose(row));
      const entry = document.createElement("li");
      entry.append(button);
      return entry;
    }),
  );
  for (const id of ["refine", "accept", "reject", "by-points"]) element(id).disabled = state.objects.length === 0;
  element("undo").disabled = state.history.length === 0;
  element("previous").disabled = state.number === 0;
  element("next").disabled = state.number === state.photos.length - 1;
  const { file, key } = state.photos[state.number];
  if (!element("points").hidden && chosen()?.object !== points.name) showObjectForPoints();
  element("place").textContent = `${state.number + 1} of ${state.photos.length}: ${key} (${file})`;
  draw();
}

function choose(row) {
  if (state.objects.length === 0) return;
  state.chosen = (row + state.objects.length) % state.objects.length;
  show();
}

// Draw the chosen object to click on; without one there is nothing to click on.
function showObjectForPoints() {
  element("points").hidden = !chosen();
  element("by-points").setAttribute("aria-expanded", String(!element("points").hidden));
  if (chosen()) work("Drawing the object …", () => points.show(chosen().object));
}

function showPoints() {
  element("pairs").textContent = points.pending ? "now click in the photograph" : `${points.pairs.length} pairs`;
  element("pose-from-points").disabled = points.pairs.length < 4;
  draw();
}

// --- photographs ---------------------------------------------------------------------------------------------------

async function open(number, objects = null) {
  clearTimeout(checking);
  const photo = await get(`photos/${number}`);
  const image = await picture(`photos/${number}/picture`);
  Object.assign(state, { number, photo, image, objects: objects ?? photo.objects, isChanged: false });
  state.chosen = Math.max(0, state.objects.findIndex((item) => item.verdict === "doubt"));
  canvas.width = photo.width;
  canvas.height = photo.height;
  points.clear();
  await loadOutlines();
  show();
  if (objects !== null || state.objects.length === 0) {
    return state.objects.length === 0 ? "No poses yet: find, place, or click pairs of points" : undefined;
  }
  if (photo.origin === "previous") {
    await refineRows(state.objects.map((_, row) => row));
    return "Went on from the photograph before";
  }
  if (photo.origin === "given") await check();
}

async function loadOutlines() {
  for (const { object } of state.objects) {
    if (state.outlines.has(object)) continue;
    state.outlines.set(object, new Outline(await get(`objects/${encodeURIComponent(object)}/mesh`)));
  }
}

// Keep what was changed and not judged.
async function leave() {
  clearTimeout(checking);
  if (state.isChanged) await save();
}

const goTo = (number) => {
  if (number < 0 || number >= state.photos.length) return;
  work("Loading …", async () => {
    await leave();
    return open(number);
  });
};

// --- what changes poses and verdicts -------------------------------------------------------------------------------

async function check() {
  const sent = clone(state.objects);
  const found = await post(`photos/${state.number}/check`, { objects: sent });
  if (JSON.stringify(sent) === JSON.stringify(state.objects)) state.objects = found; // else it was moved meanwhile
  show();
}

async function refineRows(rows) {
  state.objects = await post(`photos/${state.number}/refine`, { objects: state.objects, rows });
  state.isChanged = true;
  show();
}

async function save() {
  state.objects = await post(`photos/${state.number}/save`, { objects: state.objects });
  Object.assign(state.photos[state.number], { is_labelled: true, verdicts: state.objects.map((item) => item.verdict) });
  state.isChanged = false;
  show();
}

function setPose(pose) {
  Object.assign(chosen(), { pose, verdict: "doubt", residual_px: null, probability: 0 });
  state.isChanged = true;
  clearTimeout(checking);
  checking = setTimeout(() => work("Checking …", check), CHECK_AFTER_MS);
  show();
}

function judge(verdict, rows) {
  work("Saving …", async () => {
    clearTimeout(checking);
    remember(true);
    rows.forEach((row) => (state.objects[row].verdict = verdict));
    await save();
    const left = state.objects.filter((item) => item.verdict === "doubt");
    if (left.length === 0) return "Saved; N goes on";
    choose(state.objects.indexOf(left[0]));
    return `Saved, ${left.length} to be judged`;
  });
}

function refine(rows) {
  work("Refining …", async () => {
    remember();
    await refineRows(rows);
  });
}

function undo() {
  work("Undoing …", async () => {
    const before = state.history.pop();
    if (!before) return "Nothing to undo";
    if (before.number !== state.number) {
      await leave();
      await open(before.number, before.objects);
    }
    state.objects = before.objects;
    state.isChanged = !before.isSaved;
    state.chosen = Math.min(state.chosen, Math.max(0, state.objects.length - 1));
    if (before.isSaved) await save();
    show();
    return "Undone";
  });
}

function add(name) {
  remember();
  state.objects.push({
    object: name,
    pose: initial(state.models.get(name), state.photo),
    verdict: "doubt",
    residual_px: null,
    probability: 0,
  });
  state.isChanged = true;
  work("Loading …", async () => {
    await loadOutlines();
    choose(state.objects.length - 1);
    return "Drag it to its place, or click pairs of points";
  });
}

// Tell whether two objects are one and the same thing.
function isSame(one, other) {
  const distance = Math.hypot(...[0, 1, 2].map((row) => one.pose[row][3] - other.pose[row][3]));
  return one.object === other.object && distance < state.models.get(one.object).diameter / 2;
}

function find() {
  work("Finding objects, this may take a while …", async () => {
    const found = await post(`photos/${state.number}/find`, {});
    remember();
    const kept = state.objects.filter((item) => item.verdict === "accept");
    state.objects = kept.concat(found.filter((item) => !kept.some((other) => isSame(item, other))));
    state.isChanged = true;
    await loadOutlines();
    choose(0);
    return `Found ${found.length}`;
  });
}

function togglePoints() {
  if (element("points").hidden) {
    showObjectForPoints();
    return;
  }
  element("points").hidden = true;
  element("by-points").setAttribute("aria-expanded", "false");
  draw();
}

function poseFromPoints() {
  work("Solving …", async () => {
    const content = { object: chosen().object, pairs: points.pairs };
    const found = await post(`photos/${state.number}/points`, content);
    remember();
    state.objects[state.chosen] = found;
    state.isChanged = true;
    await check();
    return `Pose from ${points.pairs.length} pairs, ${found.points_px.toFixed(1)} px beside them`;
  });
}

// --- mouse ---------------------------------------------------------------------------------------------------------

const place = (event) => {
  const scale = canvas.width / canvas.clientWidth;
  return [event.offsetX * scale, event.offsetY * scale];
};
let drag = null; // where the pointer was

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  if (!element("points").hidden && points.take(place(event))) {
    showPoints();
    return;
  }
  if (!chosen()) return;
  canvas.setPointerCapture(event.pointerId);
  remember();
  drag = place(event);
});

canvas.addEventListener("pointermove", (event) => {
  if (drag === null) return;
  const here = place(event);
  const [right, down] = [here[0] - drag[0], here[1] - drag[1]];
  if (event.shiftKey) setPose(turned(chosen().pose, centre(), [-down * TURN_PER_PX, right * TURN_PER_PX, 0]));
  else if (event.ctrlKey) setPose(turned(chosen().pose, centre(), [0, 0, right * TURN_PER_PX]));
  else setPose(moved(chosen().pose, centre(), state.photo.intrinsics, right, down));
  drag = here;
});

for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, () => {
    const before = state.history.at(-1);
    if (drag !== null && JSON.stringify(before.objects) === JSON.stringify(state.objects)) state.history.pop(); // a mere click
    drag = null;
    show();
  });
}

canvas.addEventListener(
  "wheel",
  (event) => {
    if (!chosen()) return;
    event.preventDefault();
    remember();
    setPose(scaled(chosen().pose, centre(), Math.exp(Math.sign(event.deltaY) * 0.01)));
  },
  { passive: false },
);

// --- keys and buttons ----------------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const DEGREE = Math.PI / 180;

function change(event) {
  const pose = chosen().pose;
  if (event.key in ARROWS) {
    const [right, down] = ARROWS[event.key];
    if (event.shiftKey) return turned(pose, centre(), [-down * DEGREE, right * DEGREE, 0]);
    return moved(pose, centre(), state.photo.intrinsics, right, down);
  }
  if (event.key === "[" || event.key === "]") return turned(pose, centre(), [0, 0, event.key === "]" ? DEGREE : -DEGREE]);
  if (event.key === "+" || event.key === "=") return scaled(pose, centre(), 1 / 1.005);
  if (event.key === "-") return scaled(pose, centre(), 1.005);
  return null;
}

const rowsOf = (event) => (event.shiftKey ? state.objects.map((_, row) => row) : [state.chosen]);
const COMMANDS = {
  n: () => goTo(state.number + 1),
  p: () => goTo(state.number - 1),
  u: undo,
  f: find,
  o: () => choose(state.chosen + 1),
  v: () => {
    state.isHidden = !state.isHidden;
    draw();
  },
};
const COMMANDS_OF_OBJECTS = {
  r: (event) => refine(rowsOf(event)),
  a: (event) => judge("accept", rowsOf(event)),
  x: () => judge("reject", [state.chosen]),
  c: togglePoints,
};

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey || event.ctrlKey || event.target.matches("select, input")) return;
  const key = event.key.toLowerCase();
  const command = COMMANDS[key] ?? (chosen() && COMMANDS_OF_OBJECTS[key]);
  if (command) {
    event.preventDefault();
    command(event);
    return;
  }
  const pose = chosen() ? change(event) : null;
  if (pose === null) return;
  event.preventDefault();
  remember();
  setPose(pose);
});

const BUTTONS = {
  previous: COMMANDS.p,
  next: COMMANDS.n,
  undo,
  find,
  add: () => add(element("add-name").value),
  refine: COMMANDS_OF_OBJECTS.r,
  accept: COMMANDS_OF_OBJECTS.a,
  reject: COMMANDS_OF_OBJECTS.x,
  "by-points": togglePoints,
  "pose-from-points": poseFromPoints,
  "clear-points": () => {
    points.clear();
    points.show(chosen().object);
  },
};
for (const [id, command] of Object.entries(BUTTONS)) element(id).addEventListener("click", command);

work("Loading …", async () => {
  const { photos, objects } = await get("photos");
  state.photos = photos;
  state.models = new Map(objects.map((model) => [model.name, model]));
  element("add-name").replaceChildren(...objects.map(({ name }) => new Option(name)));
  const first = photos.findIndex(({ is_labelled, verdicts }) => !is_labelled || verdicts.includes("doubt"));
  return open(Math.max(0, first));
});
