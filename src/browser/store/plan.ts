import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { ModelFiles } from "../../checkpoint/source.js";
import { BrowserError } from "../errors.js";
import type { ModelChoice } from "../messages.js";
import type { Platform } from "../platform.js";
import { type Opener, blobSource, directoryFiles, openerFiles, pickedFiles } from "./blob-files.js";
import { type FetchOptions, ask, askText, remoteSource } from "./fetching.js";
import { sumOf } from "./hash.js";
import { hubHeaders, hubListing, hubName, isFixed } from "./hub.js";
import { type ListedFile, type Listing, bytesOf, parseFolder } from "./listing.js";
import { Store, type Wanted } from "./opfs.js";

/** A model before its weights are downloaded. */
export interface ModelPlan {
  readonly name: string;
  /** Its files; of weights that are not here only what is read is fetched, such as their headers. */
  readonly preview: ModelFiles;
  /**
   * Downloads what is missing, and checks it.
   * @param onProgress  gets bytes done and in all
   * @throws BrowserError  "network", "quota", "damaged"; the signal's reason
   */
  readonly download: (onProgress: (done: number, total: number) => void) => Promise<ModelFiles>;
}

const weights = /\.(safetensors|gguf|pt)$/;

/**
 * What is known of models without a byte of their weights. Room is made for all of them at once.
 * @param choices  undefined ones have no plan
 * @param keeps    whether downloads are kept in the browser's storage
 * @throws BrowserError  "network", "damaged", "quota", "usage"; the signal's reason
 */
export async function planModels<Choices extends readonly (ModelChoice | undefined)[]>(
  choices: Choices,
  platform: Platform,
  keeps: boolean,
  signal: AbortSignal,
): Promise<{ readonly [Index in keyof Choices]: ModelPlan | undefined }> {
  const store = keeps && choices.some(isRemote) ? await Store.open(platform) : undefined;
  const wants = new Map<ModelChoice, Wanted>();
  for (const choice of choices.filter(isRemote)) {
    const key = keyOf(choice);
    wants.set(choice, { key, listing: await current(choice, await store?.listing(key), signal) });
  }
  await store?.reserve([...wants.values()]);
  const plans: (ModelPlan | undefined)[] = [];
  for (const choice of choices) {
    if (!choice) plans.push(undefined);
    else if ("files" in choice) plans.push(here(pickedFiles(choice.files)));
    else if ("directory" in choice) plans.push(here(await directoryFiles(choice.directory)));
    else {
      const headers = "hub" in choice ? { headers: hubHeaders(choice) } : {};
      plans.push(await remote(new RemotePlan(wants.get(choice)!, store, { signal, ...headers })));
    }
  }
  return plans as { readonly [Index in keyof Choices]: ModelPlan | undefined };
}

async function remote(plan: RemotePlan): Promise<ModelPlan> {
  const preview = await plan.preview();
  return { name: preview.name, preview, download: (onProgress) => plan.download(onProgress) };
}

type RemoteChoice = Extract<ModelChoice, { url: string } | { hub: string }>;

function isRemote(choice: ModelChoice | undefined): choice is RemoteChoice {
  return choice !== undefined && ("url" in choice || "hub" in choice);
}

function here(files: ModelFiles): ModelPlan {
  return { name: files.name, preview: files, download: () => Promise.resolve(files) };
}

function keyOf(choice: RemoteChoice): string {
  const text = "url" in choice ? folderOf(choice.url) : `${choice.endpoint ?? ""} ${choice.hub}`;
  return bytesToHex(sha256(new TextEncoder().encode(text)));
}

function folderOf(url: string): string {
  return url.endsWith("/") ? url : `${url}/`;
}

/** The listing now; without a network the one that was kept. */
async function current(
  choice: RemoteChoice,
  kept: Listing | undefined,
  signal: AbortSignal,
): Promise<Listing> {
  if ("hub" in choice) hubName(choice);
  if (kept && "hub" in choice && isFixed(choice)) return kept;
  try {
    if ("hub" in choice) return await hubListing(choice, signal);
    const at = new URL("files.json", folderOf(choice.url)).href;
    return parseFolder((await askText(at, { signal })).text, at);
  } catch (error) {
    if (kept && error instanceof BrowserError && error.code === "network") return kept;
    throw error;
  }
}

/** The files of a listing, some of which are in the store. */
class RemotePlan {
  readonly #ready = new Map<string, Blob>();

  constructor(
    private readonly wanted: Wanted,
    private readonly store: Store | undefined,
    private readonly options: FetchOptions,
  ) {}

  async preview(): Promise<ModelFiles> {
    for (const file of this.wanted.listing.files) {
      const found = await this.store?.find(file);
      if (found) this.#ready.set(file.path, found);
      else if (!weights.test(file.path)) this.#ready.set(file.path, await this.#get(file, () => undefined));
    }
    return this.#files();
  }

  async download(onProgress: (done: number, total: number) => void): Promise<ModelFiles> {
    const { files } = this.wanted.listing;
    const total = bytesOf(files);
    let done = bytesOf(files.filter(({ path }) => this.#ready.has(path)));
    onProgress(done, total);
    for (const file of files) {
      if (this.#ready.has(file.path)) continue;
      const before = done;
      this.#ready.set(file.path, await this.#get(file, (bytes) => onProgress(before + bytes, total)));
      onProgress((done = before + file.size), total);
    }
    await this.store?.keep(this.wanted);
    return this.#files();
  }

  #files(): ModelFiles {
    const openers = this.wanted.listing.files.map((file): [string, Opener] => {
      const blob = this.#ready.get(file.path);
      const open: Opener = (name) =>
        Promise.resolve(
          blob ? blobSource(name, blob) : remoteSource(name, file.url, file.size, this.options),
        );
      return [file.path, open];
    });
    return openerFiles(this.wanted.listing.name, new Map(openers));
  }

  async #get(file: ListedFile, onBytes: (bytes: number) => void): Promise<Blob> {
    if (this.store) return this.store.download(file, this.options, onBytes);
    const blob = await (await ask(file.url, this.options)).blob(); // the browser may keep it on disk
    const sum = sumOf(file);
    for (let at = 0; at < blob.size; at += hashed)
      sum.update(new Uint8Array(await blob.slice(at, at + hashed).arrayBuffer()));
    if (blob.size === file.size && sum.end() === file.hash.value) return blob;
    throw new BrowserError(
      "damaged",
      `${file.url}: the bytes are not those of the listing (${file.hash.kind} ${file.hash.value}); load the page again, or make the listing anew`,
    );
  }
}

const hashed = 4 << 20; // bytes of a step
