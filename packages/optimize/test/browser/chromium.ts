import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
const ELSEWHERE = ['/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];

/** The Chromium or Chrome of this machine: `CHROME_PATH`, or what the path of programs has. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const candidates = folders.flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return [process.env.CHROME_PATH ?? '', ...candidates, ...ELSEWHERE].find((path) => path && existsSync(path));
}

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

/**
 * Loads `script` in a page of `browser` and returns what the promise `expression` gives, through JSON. `files` are served
 * beside the page.
 * @throws Error with the page's own message when it fails, or when nothing comes within `limitMs`.
 */
export async function runInChromium(
  browser: string,
  script: string,
  expression: string,
  files: Readonly<Record<string, Uint8Array>>,
  limitMs: number,
): Promise<unknown> {
  const page = `<!doctype html><meta charset="utf-8"><script src="script.js"></script><script type="module">
    const post = (value) => fetch('result', { method: 'POST', body: JSON.stringify(value) });
    addEventListener('error', (event) => post({ error: event.message }));
    try { await post({ value: await (${expression}) }); }
    catch (error) { await post({ error: String(error?.stack ?? error) }); }
  </script>`;
  const served: Readonly<Record<string, readonly [type: string, body: string | Uint8Array]>> = {
    '/': ['text/html', page],
    '/script.js': ['text/javascript', script],
    ...Object.fromEntries(
      Object.entries(files).map(([name, bytes]) => [`/${name}`, ['application/octet-stream', bytes]]),
    ),
  };
  let answer: (body: string) => void;
  const answered = new Promise<string>((resolve) => {
    answer = resolve;
  });
  const server = createServer(async (request, response) => {
    if (request.method === 'POST') answer(await bodyOf(request));
    const [type, body] = served[request.url ?? ''] ?? [];
    response.writeHead(body === undefined && request.method !== 'POST' ? 404 : 200, {
      'content-type': type ?? 'text/plain',
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const profile = mkdtempSync(join(tmpdir(), 'pare-chromium-'));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  // The debugging port is not used; with one, a headless browser stays until it is told to go.
  const child = spawn(browser, [...FLAGS, `--user-data-dir=${profile}`, '--remote-debugging-port=0', address], {
    stdio: 'ignore',
  });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${browser} gave nothing within ${limitMs} ms.`)), limitMs);
      child.once('error', reject);
      void gone.then(() => reject(new Error(`${browser} ended (exit code ${child.exitCode}) without a result.`)));
    });
    const { value, error } = JSON.parse(await Promise.race([answered, late])) as { value?: unknown; error?: string };
    if (error !== undefined) throw new Error(error);
    return value;
  } finally {
    clearTimeout(timer);
    child.kill();
    await gone;
    server.closeAllConnections();
    server.close();
    try {
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    } catch {
      // A helper process of the browser may still be writing; what it leaves is in the temporary folder, and no failure.
    }
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  return body;
}
