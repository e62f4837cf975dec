// What is done to photographs, poses and verdicts; the server keeps and computes.

import { get, picture, post } from "./api.js";
import { choose, draw, points, show, showObjectForPoints } from "./display.js";
import { Outline } from "./outline.js";
import { initial } from "./pose.js";
import { canvas, chosen, clone, element, remember, state, work } from "./state.js";

const CHECK_AFTER_MS = 400; // of rest
let checking = null; // timer

export async function open(number, objects = null) {
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

export const goTo = (number) => {
  if (number < 0 || number >= state.photos.length) return;
  work("Loading …", async () => {
    await leave();
    return open(number);
  });
};

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
  state.photos[state.number].verdicts = state.objects.map((item) => item.verdict);
  state.isChanged = false;
  show();
}

export function setPose(pose) {
  Object.assign(chosen(), { pose, verdict: "doubt", residual_px: null, probability: 0 });
  state.isChanged = true;
  clearTimeout(checking);
  checking = setTimeout(() => work("Checking …", check), CHECK_AFTER_MS);
  show();
}

export function judge(verdict, isAll = false) {
  work("Saving …", async () => {
    clearTimeout(checking);
    remember(true);
    const rows = isAll ? state.objects.map((_, row) => row) : [state.chosen];
    rows.forEach((row) => (state.objects[row].verdict = verdict));
    await save();
    const left = state.objects.filter((item) => item.verdict === "doubt");
    if (left.length === 0) return "Saved; N goes on";
    choose(state.objects.indexOf(left[0]));
    return `Saved, ${left.length} to be judged`;
  });
}

export function refine(isAll = false) {
  work("Refining …", async () => {
    remember();
    await refineRows(isAll ? state.objects.map((_, row) => row) : [state.chosen]);
  });
}

export function undo() {
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

export function add(name) {
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

export function find() {
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

export function togglePoints() {
  if (element("points").hidden) {
    showObjectForPoints();
    return;
  }
  element("points").hidden = true;
  element("by-points").setAttribute("aria-expanded", "false");
  draw();
}

export function poseFromPoints() {
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
