// The page of pose_label: what mouse, keys and buttons do, and how it begins.

import { add, find, goTo, judge, open, poseFromPoints, refine, setPose, togglePoints, undo } from "./actions.js";
import { get } from "./api.js";
import { choose, draw, points, show, showPoints } from "./display.js";
import { moved, scaled, turned } from "./pose.js";
import { canvas, centre, chosen, element, remember, state, work } from "./state.js";

const TURN_PER_PX = 0.008; // radians

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
  r: (event) => refine(event.shiftKey),
  a: (event) => judge("accept", event.shiftKey),
  x: () => judge("reject"),
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
  const first = photos.findIndex(({ verdicts }) => verdicts.length === 0 || verdicts.includes("doubt"));
  return open(Math.max(0, first));
});
