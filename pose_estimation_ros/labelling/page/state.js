// What the page knows, and the line of requests that change it.

export const element = (id) => document.getElementById(id);
export const canvas = element("photo");

export const state = {
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

let queue = Promise.resolve(); // requests that change something, one after another

export function say(text, isError = false) {
  element("status").textContent = text;
  element("status").className = isError ? "error" : "";
}

// Run something that asks the server, after what was asked before; say what it does, and what went wrong.
export function work(text, action) {
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

export const chosen = () => state.objects[state.chosen];
export const centre = () => state.models.get(chosen().object).centre;
export const clone = (objects) => structuredClone(objects);

export function remember(isSaved = false) {
  state.history.push({ number: state.number, objects: clone(state.objects), isSaved });
}
