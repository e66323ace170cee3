// From numbers to places in a plot.  Pure.

/** A function from [low, high] to [from, to]; where all is one number it is the middle. */
export function linear([low, high], [from, to]) {
  const span = high - low;
  return (value) => (span === 0 ? (from + to) / 2 : from + ((value - low) / span) * (to - from));
}

/** Round numbers from 0 to above `highest`, about `wanted` of them: [0, 5, 10, 15]. */
export function ticks(highest, wanted = 4) {
  if (!(highest > 0) || !Number.isFinite(highest)) return [0, 1];
  const rough = highest / wanted;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * size).find((one) => one >= rough * 0.999999);
  const made = [];
  for (let at = 0; ; at += 1) {
    made.push(Number((at * step).toPrecision(12)));
    if (at * step >= highest * 0.999999) return made;
  }
}

/** Places for times (epoch seconds) between two: whole minutes, hours or days of the reader's clock. */
export function timeTicks(from, to, wanted = 6) {
  const STEPS = [60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];
  const step = STEPS.find((one) => (to - from) / one <= wanted) ?? 604800;
  // As the clock on the wall has it where the ticks begin; a change of summer time within moves what is behind it.
  const offset = new Date(from * 1000).getTimezoneOffset() * 60;
  const made = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) made.push(at);
  return made;
}

/** The path of a line through points, each [x, y]; a null is a gap, and a point alone between two is a dot's width. */
export function linePath(points) {
  let path = "";
  let isDown = false;
  points.forEach((point, at) => {
    if (point === null) {
      isDown = false;
      return;
    }
    const [x, y] = point.map(tenth);
    path += `${isDown ? "L" : "M"}${x} ${y}`;
    if (!isDown && (points[at + 1] ?? null) === null) path += "h0.01";
    isDown = true;
  });
  return path;
}

/** Points without a neighbour: no line leads to them. */
export function alone(points) {
  return points.filter((point, at) => point !== null && (points[at - 1] ?? null) === null && (points[at + 1] ?? null) === null);
}

/** A line's path, closed along `floor`: each run of points is an area. */
export function areaPath(points, floor) {
  let path = "";
  let run = [];
  for (const point of [...points, null]) {
    if (point !== null) {
      run.push(point.map(tenth));
    } else if (run.length > 0) {
      path += `M${run[0][0]} ${tenth(floor)}${run.map(([x, y]) => `L${x} ${y}`).join("")}L${run.at(-1)[0]} ${tenth(floor)}Z`;
      run = [];
    }
  }
  return path;
}

/** Of sorted places the index nearest to one; -1 of none. */
export function nearest(places, wanted) {
  let best = -1;
  places.forEach((place, at) => {
    if (best < 0 || Math.abs(place - wanted) < Math.abs(places[best] - wanted)) best = at;
  });
  return best;
}

/** At most `most` points: each the mean of those that it stands for, null where all of them are. */
export function thinned(values, most) {
  if (values.length <= most) return [...values];
  const size = values.length / most;
  return Array.from({ length: most }, (_, at) => {
    const some = values.slice(Math.floor(at * size), Math.floor((at + 1) * size)).filter((one) => one !== null);
    return some.length ? some.reduce((sum, one) => sum + one, 0) / some.length : null;
  });
}

function tenth(number) {
  return Math.round(number * 10) / 10;
}
