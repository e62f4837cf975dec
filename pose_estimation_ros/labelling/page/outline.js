// Draw what is seen of a mesh's edges: its outline, and creases on its near side.

import { apply, project } from "./pose.js";

const CREASE = Math.cos((35 * Math.PI) / 180); // of the angle between the normals of two faces

export class Outline {
  constructor({ vertices, faces }) {
    this.vertices = Array.from({ length: vertices.length / 3 }, (_, row) => vertices.slice(3 * row, 3 * row + 3));
    this.faces = Array.from({ length: faces.length / 3 }, (_, row) => faces.slice(3 * row, 3 * row + 3));
    this.edges = this.#edges();
  }

  #edges() {
    const normals = this.faces.map((face) => unit(normal(face.map((corner) => this.vertices[corner]))));
    const found = new Map();
    this.faces.forEach((face, number) => {
      face.forEach((first, corner) => {
        const second = face[(corner + 1) % 3];
        const key = first < second ? `${first} ${second}` : `${second} ${first}`;
        if (!found.has(key)) found.set(key, { ends: [first, second], faces: [] });
        found.get(key).faces.push(number);
      });
    });
    return [...found.values()].map((edge) => {
      const [one, other] = edge.faces.map((number) => normals[number]);
      const isCrease = other !== undefined && dot(one, other) < CREASE;
      return { ...edge, isCrease };
    });
  }

  draw(context, pose, intrinsics, color, width) {
    const points = this.vertices.map((vertex) => apply(pose, vertex));
    if (points.some((point) => point[2] <= 0)) return;
    const pixels = points.map((point) => project(intrinsics, point));
    const isNear = this.faces.map((face) => {
      const corners = face.map((corner) => points[corner]);
      return dot(normal(corners), corners[0]) < 0;
    });
    const outline = new Path2D();
    const creases = new Path2D();
    for (const { ends, faces, isCrease } of this.edges) {
      const near = faces.filter((number) => isNear[number]).length;
      if (near === 0) continue;
      const path = near < faces.length || faces.length === 1 ? outline : isCrease ? creases : null;
      if (path === null) continue;
      path.moveTo(...pixels[ends[0]]);
      path.lineTo(...pixels[ends[1]]);
    }
    context.strokeStyle = color;
    context.lineWidth = 0.6 * width;
    context.stroke(creases);
    context.lineWidth = width;
    context.stroke(outline);
  }
}

function normal([a, b, c]) {
  const [u, v] = [b, c].map((point) => point.map((value, axis) => value - a[axis]));
  return [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function unit(vector) {
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}
