import { type HubFile, type HubTree, checkFile } from "./cache.js";
import { HubError } from "./errors.js";
import { isCommit } from "./name.js";
import { type Patience, type Purpose, body, get, label, persist, unreachable } from "./requests.js";

const MAX_ANSWER_BYTES = 16_000_000;
const MAX_FILES = 10_000;

/** The current commit of a branch, tag or commit id. */
export async function fetchCommit(
  purpose: Purpose,
  patience: Patience,
  signal?: AbortSignal,
): Promise<string> {
  const { modelInfo } = await import("@huggingface/hub");
  const { settings, name } = purpose;
  const ask = async (): Promise<{ readonly sha?: unknown }> =>
    modelInfo({
      name: name.repo,
      revision: name.revision,
      hubUrl: settings.endpoint,
      additionalFields: ["sha"],
      fetch: answers(purpose, patience, signal),
    });
  const info = await persist(patience, () => explained(purpose, ask(), signal), undefined, signal);
  if (typeof info.sha === "string" && isCommit(info.sha)) return info.sha;
  throw unexpected(purpose, "a commit id");
}

/** All files of the repository at a commit. */
export async function fetchTree(
  purpose: Purpose,
  commit: string,
  patience: Patience,
  signal?: AbortSignal,
): Promise<HubTree> {
  const { listFiles } = await import("@huggingface/hub");
  const { settings, name } = purpose;
  const list = async (): Promise<HubTree> => {
    const files = new Map<string, HubFile>();
    const entries = listFiles({
      repo: { type: "model", name: name.repo },
      recursive: true,
      revision: commit,
      hubUrl: settings.endpoint,
      fetch: answers(purpose, patience, signal),
    });
    for await (const { type, path, size, oid, lfs } of entries) {
      if (type === "directory") continue;
      if (files.size === MAX_FILES) throw unexpected(purpose, `at most ${MAX_FILES} files`);
      files.set(path, checkFile({ path, size: lfs?.size ?? size, oid, ...(lfs && { sha256: lfs.oid }) }));
    }
    return files;
  };
  return persist(patience, () => explained(purpose, list(), signal), undefined, signal);
}

/** Explains the client's errors: it does not check the JSON's structure. */
async function explained<T>(purpose: Purpose, answer: Promise<T>, signal?: AbortSignal): Promise<T> {
  return answer.catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw cause instanceof HubError ? cause : unexpected(purpose, "the hub's JSON", { cause });
  });
}

/** A `fetch` for the client, with this package's token and errors, for JSON of bounded size. */
function answers(purpose: Purpose, { stallMs }: Patience, ended?: AbortSignal): typeof fetch {
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const silence = AbortSignal.timeout(stallMs);
    const signal = ended ? AbortSignal.any([silence, ended]) : silence;
    const response = await get(purpose, url, { ...init, signal });
    const pieces: Uint8Array[] = [];
    let length = 0;
    try {
      for await (const piece of body(response)) {
        length += piece.length;
        if (length > MAX_ANSWER_BYTES) throw unexpected(purpose, `at most ${MAX_ANSWER_BYTES} bytes`);
        pieces.push(piece);
      }
    } catch (cause) {
      throw cause instanceof HubError ? cause : unreachable(purpose, "the answer broke off", { cause });
    }
    const text = Buffer.concat(pieces).toString("utf8");
    try {
      JSON.parse(text);
    } catch (cause) {
      throw unexpected(purpose, "JSON", { cause });
    }
    return new Response(text, { status: response.status, headers: response.headers });
  };
}

function unexpected({ settings, name }: Purpose, expected: string, options?: ErrorOptions): HubError {
  const { host } = new URL(settings.endpoint);
  return new HubError(
    `${label(name)}: expected ${expected} from ${host}, got something else; check that HF_ENDPOINT is a hub`,
    options,
  );
}
