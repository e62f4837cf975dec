// Poses are camera_from_object, 4 rows of 4 numbers, metres; x is right, y down, z forward.

export function apply(pose, [x, y, z]) {
  return [0, 1, 2].map((row) => pose[row][0] * x + pose[row][1] * y + pose[row][2] * z + pose[row][3]);
}

export function project(intrinsics, [x, y, z]) {
  const [[fx, skew, cx], [, fy, cy]] = intrinsics;
  return [(fx * x + skew * y) / z + cx, (fy * y) / z + cy];
}

// Return the pose with the same rotation whose object has its centre at another place.
function placed(pose, centre, place) {
  const before = apply(pose, centre);
  return pose.map((row, index) => (index < 3 ? [row[0], row[1], row[2], row[3] + place[index] - before[index]] : [...row]));
}

// Move an object in the image, at its depth.
export function moved(pose, centre, intrinsics, right, down) {
  const [x, y, z] = apply(pose, centre);
  return placed(pose, centre, [x + (right * z) / intrinsics[0][0], y + (down * z) / intrinsics[1][1], z]);
}

// Move an object along its ray: a factor below one brings it nearer.
export function scaled(pose, centre, factor) {
  return placed(pose, centre, apply(pose, centre).map((value) => value * factor));
}

// Turn an object about its centre by a rotation vector in the camera's axes, radians.
export function turned(pose, centre, vector) {
  const angle = Math.hypot(...vector);
  if (angle === 0) return pose;
  const [x, y, z] = vector.map((value) => value / angle);
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const d = 1 - c;
  const turn = [
    [c + x * x * d, x * y * d - z * s, x * z * d + y * s],
    [y * x * d + z * s, c + y * y * d, y * z * d - x * s],
    [z * x * d - y * s, z * y * d + x * s, c + z * z * d],
  ];
  const rotated = turn.map((row, index) => [
    ...[0, 1, 2].map((column) => row[0] * pose[0][column] + row[1] * pose[1][column] + row[2] * pose[2][column]),
    pose[index][3],
  ]);
  return placed([...rotated, [0, 0, 0, 1]], centre, apply(pose, centre));
}

// A pose at the middle of a photograph, at which the object takes a quarter of its height.
export function initial(model, photo) {
  const z = (4 * model.diameter * photo.intrinsics[1][1]) / photo.height;
  const pose = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]; // upright, seen from the side
  const [[fx, , cx], [, fy, cy]] = photo.intrinsics;
  return placed(pose, model.centre, [((photo.width / 2 - cx) * z) / fx, ((photo.height / 2 - cy) * z) / fy, z]);
}
