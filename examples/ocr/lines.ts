import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createCanvas, GlobalFonts, type SKRSContext2D } from '@napi-rs/canvas';
import { type Dataset, datasetOf, type Sample } from '@pare/verify';

/** Size of the picture of one line, as the recogniser takes it: float32 [3, 48, 320], BGR, scaled to -1..1. */
const HEIGHT = 48;
const WIDTH = 320;

const FONTS = ['inter', 'noto-sans', 'roboto'].flatMap((family) =>
  ['400', '700'].map((weight) => ({ family, weight, name: `${family}-${weight}` })),
);

/**
 * `count` pictures of text lines with the text that is on them. Seeded: line `i` of a seed is the same everywhere. Words,
 * amounts, codes and addresses, in six faces, with uneven contrast, a slant, blur and noise: scans, not typesetting.
 */
export function textLines(count: number, seed: number): Dataset {
  registerFonts();
  return datasetOf(
    Array.from({ length: count }, (_, i) => line(seed * 100_003 + i)),
    { name: `text lines, seed ${seed}` },
  );
}

function registerFonts(): void {
  const require = createRequire(import.meta.url);
  for (const { family, weight, name } of FONTS) {
    const file = require.resolve(`@fontsource/${family}/files/${family}-latin-${weight}-normal.woff2`);
    GlobalFonts.register(readFileSync(file), name);
  }
}

function line(seed: number): Sample {
  const random = mulberry32(seed);
  const text = sentence(random);
  const canvas = createCanvas(WIDTH, HEIGHT);
  const context = canvas.getContext('2d');
  draw(context, text, random);
  const pixels = context.getImageData(0, 0, WIDTH, HEIGHT).data;
  const x = new Float32Array(3 * HEIGHT * WIDTH);
  const noise = random() * 0.12;
  for (let p = 0; p < HEIGHT * WIDTH; p++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = (pixels[p * 4 + (2 - channel)] ?? 0) / 127.5 - 1;
      x[channel * HEIGHT * WIDTH + p] = value + (random() - 0.5) * 2 * noise;
    }
  }
  return { inputs: { x: { dtype: 'float32', dims: [3, HEIGHT, WIDTH], data: x } }, label: text, id: text };
}

function draw(context: SKRSContext2D, text: string, random: () => number): void {
  const paper = 170 + random() * 85;
  const ink = random() * 110;
  const shade = (grey: number): string => `rgb(${grey}, ${grey + random() * 12 - 6}, ${grey + random() * 20 - 10})`;
  context.fillStyle = shade(paper);
  context.fillRect(0, 0, WIDTH, HEIGHT);
  context.fillStyle = shade(ink);
  const font = FONTS[Math.floor(random() * FONTS.length)] as (typeof FONTS)[number];
  let size = 22 + random() * 10;
  do {
    context.font = `${size}px ${font.name}`;
    size -= 0.5;
  } while (context.measureText(text).width > WIDTH - 24);
  context.filter = `blur(${(random() * 0.9).toFixed(2)}px)`;
  context.translate(8 + random() * 6, HEIGHT / 2 + random() * 4 - 2);
  context.rotate((random() - 0.5) * 0.03);
  context.textBaseline = 'middle';
  context.fillText(text, 0, 0);
}

const WORDS =
  `amount balance before between blue bridge cargo castle cheque city client cloud coast copper credit daily delta
  demand desk early east engine evening factor final first flight forest freight garden gate general glass golden green
  harbour heavy hotel hundred index invoice island journey kettle kind large letter light line little local lower market
  metal middle minute model morning mountain museum narrow night north number ocean office open orange order outer paper
  partner payment pilot planet platform point power price project purple quick quiet quota rail rapid receipt record red
  regular report return river road room round sales sample season second secure service seven shipment short silver single
  small south special spring square station steel stock storm street summer supply table terminal third ticket total town
  track trade train transfer travel travel twelve under union unit upper valley value village volume voyage warm water week
  west white window winter yellow zone`.split(/\s+/);

function sentence(random: () => number): string {
  const pick = (n: number): number => Math.floor(random() * n);
  const word = (): string => WORDS[pick(WORDS.length)] as string;
  const capital = (): string => word().replace(/^./, (c) => c.toUpperCase());
  const digits = (n: number): string => Array.from({ length: n }, () => pick(10)).join('');
  const forms = [
    () => `${capital()} ${word()} ${word()}`,
    () => `${capital()} ${word()} of the ${word()}`,
    () => `Invoice ${2000 + pick(30)}-${digits(4)}`,
    () => `Total: ${1 + pick(9)},${digits(3)}.${digits(2)} ${['EUR', 'USD', 'GBP', 'CHF'][pick(4)]}`,
    () => `${word()}.${word()}@example.org`,
    () => `Flight ${['LH', 'AF', 'BA', 'SK'][pick(4)]} ${digits(4)} to ${capital()}`,
    () => `Order #${digits(5)} ${word()}`,
    () => `${capital()} Street ${1 + pick(199)}, ${digits(5)}`,
    () => `Room ${1 + pick(40)}${'ABCDE'[pick(5)]}, ${word()} ${word()}`,
    () =>
      `${1 + pick(28)} ${['Jan', 'Feb', 'Mar', 'Apr', 'Jun', 'Sep', 'Nov'][pick(7)]} ${1950 + pick(80)}, ${pick(24)}:${digits(2)}`,
  ];
  return (forms[pick(forms.length)] as () => string)();
}

/** A small seeded generator of uniform numbers in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
