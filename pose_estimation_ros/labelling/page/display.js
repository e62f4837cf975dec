// Show what the page knows: the photograph with outlines, the list of objects, pairs of points.

import { mark, Points } from "./points.js";
import { canvas, chosen, element, state, work } from "./state.js";

const COLORS = { accept: "#3ddc6c", doubt: "#ffb020", reject: "#ff5050" };
const VERDICTS = { accept: "accepted", doubt: "to be judged", reject: "rejected" };
export const points = new Points(element, showPoints);

export function draw() {
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

export function show() {
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

export function choose(row) {
  if (state.objects.length === 0) return;
  state.chosen = (row + state.objects.length) % state.objects.length;
  show();
}

// Draw the chosen object to click on; without one there is nothing to click on.
export function showObjectForPoints() {
  element("points").hidden = !chosen();
  element("by-points").setAttribute("aria-expanded", String(!element("points").hidden));
  if (chosen()) work("Drawing the object …", () => points.show(chosen().object));
}

export function showPoints() {
  element("pairs").textContent = points.pending ? "now click in the photograph" : `${points.pairs.length} pairs`;
  element("pose-from-points").disabled = points.pairs.length < 4;
  draw();
}
