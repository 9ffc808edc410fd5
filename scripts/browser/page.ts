/** The page of the engine's checks: SpeechWorker as a global, and its worker bundled by esbuild. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** What stands in front of the worker's own code. */
const workers = {
  "worker.js": "",
  /** A browser that grants a megabyte. */
  "small-quota.js": "navigator.storage.estimate = async () => ({ quota: 1e6, usage: 0 });",
};

/** Texts by path, for a StaticServer. */
export async function enginePages(): Promise<Record<string, string>> {
  const options = {
    bundle: true,
    format: "esm" as const,
    platform: "browser" as const,
    write: false as const,
    logLevel: "warning" as const,
    alias: { "#wgsl": at("dist/wgsl.browser.js") },
    tsconfigRaw: "{}", // the project's own leads #wgsl to Node's files
  };
  const bundle = async (contents: string): Promise<string> => {
    const stdin = { contents, resolveDir: at("src"), loader: "ts" as const };
    const { outputFiles, warnings } = await build({ ...options, stdin });
    if (warnings.length > 0) throw new Error(`esbuild: ${warnings[0].text}`);
    return outputFiles[0].text;
  };
  const worker = await bundle('import "./browser/worker.ts";');
  const client = await bundle(
    'import { SpeechWorker } from "./browser/client.ts"; globalThis.SpeechWorker = SpeechWorker;' +
      'globalThis.newWorker = (name = "worker.js") => new Worker(`/page/${name}`, { type: "module" });',
  );
  return {
    "/page/": '<!doctype html><title>engine</title><script type="module" src="client.js"></script>',
    "/page/client.js": client,
    ...Object.fromEntries(
      Object.entries(workers).map(([name, head]) => [`/page/${name}`, `${head}\n${worker}`]),
    ),
  };
}
