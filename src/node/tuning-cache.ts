import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { wgsl } from "#wgsl";
import { CheckpointError } from "../formats/errors.js";
import { parseJsonObject } from "../checkpoint/json.js";
import { readUtf8 } from "../checkpoint/source.js";
import type { Sizes, Tuning } from "../gpu/kernel.js";
import { isObject, show } from "../json.js";
import { allCandidates } from "../kernels/tuning.js";
import { sameSizes, shapeClasses, tunedKernels } from "../kernels/shape-classes.js";
import { openFile, writeFileAtomic } from "./files.js";
import { makeDirectory } from "./make-directory.js";

/** Identifies an adapter. */
export interface AdapterNames {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** Names the driver and its version too, where the driver does so. */
  readonly description: string;
}

/** A tuning is valid for this adapter and these kernels alone. */
export interface TuningKey extends AdapterNames {
  readonly package: string;
  /** SHA-256 of the sources of the kernels that are tuned, 16 digits of it. */
  readonly kernels: string;
  /** Of a subgroup. */
  readonly lanes: number;
}

const keyFields = ["package", "kernels", "vendor", "architecture", "device", "description"] as const;
const mostBytes = 64 << 10;
const variable = "FUNASR_WEBGPU_TUNING";

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** The key of a tuning that is measured on an adapter now. */
export function tuningKey(adapter: Omit<TuningKey, "package" | "kernels">): TuningKey {
  const { vendor, architecture, device, description, lanes } = adapter;
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(manifest) as { readonly version: string };
  const kernels = sha256(tunedKernels.map(wgsl).join("\n"));
  return { package: version, kernels, vendor, architecture, device, description, lanes };
}

/** Undefined for a user without an entry, as containers have. */
function homeOfUser(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

/**
 * Path of an adapter's tuning, one file for each adapter. It lies in the directory that
 * FUNASR_WEBGPU_TUNING names, else in $XDG_CACHE_HOME/funasr-webgpu, else in
 * ~/.cache/funasr-webgpu. Undefined where the variable is "off", or there is no home.
 */
export function tuningFile(key: TuningKey, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = environment[variable];
  if (named === "off") return undefined;
  const { XDG_CACHE_HOME: cache } = environment;
  const home = environment.HOME || homeOfUser();
  if (!named && !cache && home === undefined) return undefined;
  const directory = named || join(cache || join(home!, ".cache"), "funasr-webgpu");
  const { vendor, architecture, device, description, lanes } = key;
  const adapter = sha256(JSON.stringify([vendor, architecture, device, description, lanes]));
  return join(directory, `tuning-${adapter}.json`);
}

/** Writes a tuning beside its place and renames it. */
export async function writeTuning(file: string, key: TuningKey, sizes: Tuning): Promise<void> {
  await makeDirectory(dirname(file));
  await writeFileAtomic(file, [Buffer.from(`${JSON.stringify({ ...key, sizes }, null, 1)}\n`)]);
}

/**
 * An adapter's tuning; undefined where there is none or it is of other kernels.
 * @throws CheckpointError  the file is damaged: too long, no JSON, a field of another type, a size
 *   that is no candidate
 */
export async function readTuning(file: string, key: TuningKey): Promise<Tuning | undefined> {
  const source = await openFile(file).catch((error: unknown) => {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  });
  return source && parseTuning(await readUtf8(source, mostBytes), file, key);
}

/**
 * The text of a tuning; undefined where it is of another key.
 * @throws CheckpointError  see readTuning
 */
export function parseTuning(text: string, file: string, key: TuningKey): Tuning | undefined {
  const refuse = (field: string, expected: string, got: unknown): never => {
    const advice = `run "funasr-webgpu bench --tune" again, or remove the file`;
    throw new CheckpointError({ file, field, expected, got: show(got), advice });
  };
  const { lanes, sizes, ...rest } = parseJsonObject(text, file, "tuning");
  for (const name of keyFields) if (typeof rest[name] !== "string") refuse(name, "a string", rest[name]);
  if (typeof lanes !== "number") refuse("lanes", "a number", lanes);
  if (!isObject(sizes)) return refuse("sizes", "an object", sizes);
  const other = Object.keys(rest).find((name) => !keyFields.some((field) => field === name));
  if (other !== undefined) refuse(other, "no such field", rest[other]);
  if (lanes !== key.lanes || keyFields.some((name) => rest[name] !== key[name])) return undefined;
  const checked: Record<string, Sizes> = {};
  for (const [name, value] of Object.entries(sizes)) {
    const known = shapeClasses.get(name) ?? refuse(`sizes.${name}`, "the name of a shape class", name);
    const candidates = allCandidates(known);
    const chosen = isObject(value) ? candidates.find((sizes) => sameSizes(sizes, value as Sizes)) : undefined;
    const offered = candidates.map((sizes) => JSON.stringify(sizes)).join(", ");
    checked[name] =
      chosen ?? refuse(`sizes.${name}`, `one of ${offered}`, isObject(value) ? JSON.stringify(value) : value);
  }
  return checked;
}
