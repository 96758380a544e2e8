// What the pipeline saw, over the photo: its coarse map as a haze of colours, its prompts as dots.
// The map comes as rows of bytes in base64, over the whole photo; pure but for `createHeat`.

// Dark violet, red, orange, pale yellow: brightness alone orders them, so grey photos and eyes that
// tell no red from green lose nothing.
const HEAT_STOPS = [
  [0, [32, 12, 74]], [0.25, [120, 28, 109]], [0.5, [211, 67, 56]], [0.75, [249, 142, 9]],
  [1, [252, 236, 120]],
];
const HEAT_ALPHA = [0.5, 1]; // where nothing is and where everything is: the photo shows through
const HEAT_SIDE = 192; // pixels of the layer's long side; the browser smooths from there on
const PROMPT_RADIUS = 2.5; // screen pixels

/** Red, green, blue for a value in [0, 1]. */
function heatColour(value) {
  const at = Math.max(1, HEAT_STOPS.findIndex(([stop]) => stop >= value));
  const [[low, from], [high, to]] = [HEAT_STOPS[at - 1], HEAT_STOPS[at]];
  const share = (value - low) / (high - low);
  return from.map((channel, i) => Math.round(channel + share * (to[i] - channel)));
}

const heatAlpha = (value) => HEAT_ALPHA[0] + value * (HEAT_ALPHA[1] - HEAT_ALPHA[0]);

/** The colours of the legend, as a CSS background. */
function heatRamp() {
  const stops = HEAT_STOPS.map(([stop, rgb]) => "rgb(" + rgb.join(",") + ") " + 100 * stop + "%");
  return "linear-gradient(90deg, " + stops.join(", ") + ")";
}

/** Base64 text -> its bytes. */
function bytesOf(text) {
  const characters = atob(text);
  return Uint8Array.from(characters, (one) => one.charCodeAt(0));
}

/** Where pixel `i` of `size` lies between cells: [cell, next cell, share of the next]. */
function betweenCells(i, size, cells) {
  const at = Math.min(Math.max(((i + 0.5) * cells) / size - 0.5, 0), cells - 1);
  const cell = Math.min(Math.floor(at), Math.max(cells - 2, 0));
  return [cell, Math.min(cell + 1, cells - 1), at - cell];
}

/** The map {w, h, levels: bytes} at width x height pixels, linear between the middles of cells. */
function smoothMap({ w, h, levels }, width, height) {
  const values = new Float32Array(width * height);
  const columns = Array.from({ length: width }, (_, x) => betweenCells(x, width, w));
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = betweenCells(y, height, h);
    for (let x = 0; x < width; x++) {
      const [left, right, along] = columns[x];
      const above = levels[top * w + left] * (1 - along) + levels[top * w + right] * along;
      const below = levels[bottom * w + left] * (1 - along) + levels[bottom * w + right] * along;
      values[y * width + x] = (above * (1 - down) + below * down) / 255;
    }
  }
  return values;
}

/** Paints the map of a photo; its layer is made once a map. */
function createHeat() {
  let known = null; // the map that `layer` was made of
  let layer = null;

  function build(map, photo) {
    const scale = HEAT_SIDE / Math.max(photo.w, photo.h);
    const [width, height] = [photo.w, photo.h].map((side) => Math.max(1, Math.round(side * scale)));
    const values = smoothMap({ ...map, levels: bytesOf(map.levels) }, width, height);
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    values.forEach((value, i) => {
      image.data.set([...heatColour(value), Math.round(255 * heatAlpha(value))], 4 * i);
    });
    context.putImageData(image, 0, 0);
    return canvas;
  }

  return (context, map, photo, opacity) => {
    if (map !== known) [known, layer] = [map, build(map, photo)];
    const smoothing = context.imageSmoothingEnabled;
    // An orange photo would hide an orange map: what lies below turns grey.
    Object.assign(context, { globalCompositeOperation: "saturation", fillStyle: "#808080" });
    context.fillRect(0, 0, photo.w, photo.h);
    context.globalCompositeOperation = "source-over";
    Object.assign(context, { globalAlpha: opacity, imageSmoothingEnabled: true });
    context.drawImage(layer, 0, 0, photo.w, photo.h);
    Object.assign(context, { globalAlpha: 1, imageSmoothingEnabled: smoothing });
  };
}

/** Dots of the same size at every zoom, readable on light and dark. */
function paintPrompts(context, prompts, view) {
  for (const [radius, colour] of [[PROMPT_RADIUS + 1.25, "rgba(0,0,0,0.65)"], [PROMPT_RADIUS, "#fff"]]) {
    context.fillStyle = colour;
    context.beginPath();
    for (const [px, py] of prompts) {
      const [x, y] = [px * view.scale + view.x, py * view.scale + view.y];
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.fill();
  }
}

if (typeof module !== "undefined") {
  module.exports = { heatColour, heatAlpha, heatRamp, bytesOf, smoothMap };
}
