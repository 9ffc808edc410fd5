/** Builds the examples of three bundlers, without settings of theirs. */
import { join } from "node:path";
import { build as esbuild } from "esbuild";
import { build as vite, createLogger } from "vite";
import webpack from "webpack";

export const bundlers = ["vite", "webpack", "esbuild"] as const;
export type Bundler = (typeof bundlers)[number];

/**
 * Builds an example into its folder `dist`.
 * @returns warnings, but for those about the sizes of files and the time of the build
 */
export async function buildExample(name: Bundler, folder: string): Promise<readonly string[]> {
  if (name === "vite") return buildWithVite(folder);
  if (name === "webpack") return buildWithWebpack(folder);
  const { warnings } = await esbuild({
    absWorkingDir: folder,
    entryPoints: ["page.js", "worker.js"],
    bundle: true,
    format: "esm",
    outdir: "dist",
    logLevel: "silent",
  });
  return warnings.map(({ text }) => text);
}

async function buildWithVite(folder: string): Promise<readonly string[]> {
  const warnings: string[] = [];
  const logger = createLogger("warn");
  const keep = (text: string): void => void warnings.push(text);
  Object.assign(logger, { warn: keep, warnOnce: keep });
  await vite({ root: folder, configFile: false, base: "./", customLogger: logger });
  return warnings.filter((text) => !/chunks are larger than|PLUGIN_TIMINGS/.test(text));
}

function buildWithWebpack(folder: string): Promise<readonly string[]> {
  const compiler = webpack({
    mode: "production",
    context: folder,
    entry: "./page.js",
    output: { path: join(folder, "dist") },
    optimization: { minimize: false }, // for time alone
    performance: { hints: false },
  });
  return new Promise((resolve, reject) => {
    compiler.run((error, stats) => {
      if (error) reject(error);
      else if (stats?.hasErrors()) reject(new Error(stats.toString("errors-only")));
      else
        resolve((stats?.toJson({ all: false, warnings: true }).warnings ?? []).map(({ message }) => message));
      compiler.close(() => undefined);
    });
  });
}
