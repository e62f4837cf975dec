// Pairs of points: clicked in a picture of the object, then in the photograph.

import { picture } from "./api.js";

export class Points {
  constructor(element, changed) {
    this.view = element("view");
    this.sliders = [element("azimuth"), element("elevation")];
    this.changed = changed;
    this.name = null;
    this.clear();
    this.sliders.forEach((slider) => slider.addEventListener("change", () => this.show(this.name)));
    this.view.addEventListener("click", (event) => {
      if (!this.image) return;
      const scale = this.view.width / this.view.clientWidth;
      this.pending = [...this.angles(), event.offsetX * scale, event.offsetY * scale];
      this.#draw();
      this.changed();
    });
  }

  angles() {
    return this.sliders.map((slider) => Number(slider.value));
  }

  clear() {
    this.pairs = [];
    this.pending = null;
  }

  // Show an object; pairs of another one are forgotten.
  async show(name) {
    if (name !== this.name) this.clear();
    this.name = name;
    this.image = null;
    const [azimuth, elevation] = this.angles();
    const path = `objects/${encodeURIComponent(name)}/view?azimuth=${azimuth}&elevation=${elevation}`;
    this.image = await picture(path);
    [this.view.width, this.view.height] = [this.image.width, this.image.height];
    this.#draw();
    this.changed();
  }

  // Take a click in the photograph; return whether it completed a pair.
  take(photo) {
    if (this.pending === null) return false;
    this.pairs.push({ view: this.pending, photo });
    this.pending = null;
    this.#draw();
    return true;
  }

  #draw() {
    const context = this.view.getContext("2d");
    if (this.image) context.drawImage(this.image, 0, 0);
    const [azimuth, elevation] = this.angles();
    const here = this.pairs.map((pair, index) => [pair.view, String(index + 1)]);
    if (this.pending) here.push([this.pending, "?"]);
    for (const [[around, above, x, y], label] of here) {
      if (around === azimuth && above === elevation) mark(context, x, y, label);
    }
  }
}

export function mark(context, x, y, label) {
  context.lineWidth = 2;
  for (const [color, shift] of [["black", 1], ["yellow", 0]]) {
    context.strokeStyle = context.fillStyle = color;
    context.beginPath();
    context.arc(x + shift, y + shift, 5, 0, 2 * Math.PI);
    context.stroke();
    context.font = "bold 14px sans-serif";
    context.fillText(label, x + 8 + shift, y - 8 + shift);
  }
}
