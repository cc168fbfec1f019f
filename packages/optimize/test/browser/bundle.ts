import { isBuiltin } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

/**
 * `entry`, and all that it imports, as one classic script that defines the global `Pare`. Nothing is shaken off: what a package
 * merely re-exports is there too.
 * @throws when any of it imports a module of Node.
 */
export async function bundleForBrowser(entry: URL): Promise<string> {
  const { output } = await build({
    input: fileURLToPath(entry),
    platform: 'browser',
    treeshake: false,
    write: false,
    logLevel: 'silent',
    output: { format: 'iife', name: 'Pare', codeSplitting: false },
    plugins: [
      {
        name: 'no-node',
        resolveId(id, importer) {
          if (isBuiltin(id)) throw new Error(`${importer} imports ${id}, which no browser has.`);
          return null;
        },
      },
    ],
  });
  return output[0].code;
}
