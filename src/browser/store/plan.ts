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
import { Store } from "./opfs.js";

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
 * What is known of a model without a byte of its weights.
 * @param keeps  whether downloads are kept in the browser's storage
 * @throws BrowserError  "network", "damaged", "quota", "usage"; the signal's reason
 */
export async function planModel(
  choice: ModelChoice,
  platform: Platform,
  keeps: boolean,
  signal: AbortSignal,
): Promise<ModelPlan> {
  if ("files" in choice) return here(pickedFiles(choice.files));
  if ("directory" in choice) return here(await directoryFiles(choice.directory));
  const store = keeps ? await Store.open(platform) : undefined;
  const key = keyOf(choice);
  const kept = await store?.listing(key);
  const listing = await current(choice, kept, signal);
  await store?.reserve(key, listing);
  await store?.keep(key, listing);
  const plan = new RemotePlan(listing, store, {
    signal,
    ...("hub" in choice && { headers: hubHeaders(choice) }),
  });
  return {
    name: listing.name,
    preview: await plan.preview(),
    download: (onProgress) => plan.download(onProgress),
  };
}

function here(files: ModelFiles): ModelPlan {
  return { name: files.name, preview: files, download: () => Promise.resolve(files) };
}

function keyOf(choice: Extract<ModelChoice, { url: string } | { hub: string }>): string {
  const text = "url" in choice ? folderOf(choice.url) : `${choice.endpoint ?? ""} ${choice.hub}`;
  return bytesToHex(sha256(new TextEncoder().encode(text)));
}

function folderOf(url: string): string {
  return url.endsWith("/") ? url : `${url}/`;
}

/** The listing now; without a network the one that was kept. */
async function current(
  choice: Extract<ModelChoice, { url: string } | { hub: string }>,
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
    private readonly listing: Listing,
    private readonly store: Store | undefined,
    private readonly options: FetchOptions,
  ) {}

  async preview(): Promise<ModelFiles> {
    for (const file of this.listing.files) {
      const found = await this.store?.find(file);
      if (found) this.#ready.set(file.path, found);
      else if (!weights.test(file.path)) this.#ready.set(file.path, await this.#get(file, () => undefined));
    }
    return this.#files();
  }

  async download(onProgress: (done: number, total: number) => void): Promise<ModelFiles> {
    const { files } = this.listing;
    const total = bytesOf(files);
    let done = bytesOf(files.filter(({ path }) => this.#ready.has(path)));
    onProgress(done, total);
    for (const file of files) {
      if (this.#ready.has(file.path)) continue;
      const before = done;
      this.#ready.set(file.path, await this.#get(file, (bytes) => onProgress(before + bytes, total)));
      onProgress((done = before + file.size), total);
    }
    return this.#files();
  }

  #files(): ModelFiles {
    const openers = this.listing.files.map((file): [string, Opener] => {
      const blob = this.#ready.get(file.path);
      const open: Opener = (name) =>
        Promise.resolve(
          blob ? blobSource(name, blob) : remoteSource(name, file.url, file.size, this.options),
        );
      return [file.path, open];
    });
    return openerFiles(this.listing.name, new Map(openers));
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
