import { checkpointFiles } from "../../hub/select.js";
import { type HubName, hubNameText, isCommit, parseHubName } from "../../hub/name.js";
import { parseJsonObject } from "../../checkpoint/json.js";
import { isObject, show } from "../../json.js";
import { BrowserError } from "../errors.js";
import type { ModelChoice } from "../messages.js";
import { type Answer, askText } from "./fetching.js";
import { type ListedFile, type Listing, listedFile, mostFiles } from "./listing.js";

type HubChoice = Extract<ModelChoice, { hub: string }>;

/** The hub's name of a choice. @throws BrowserError  "usage" */
export function hubName({ hub }: HubChoice): HubName {
  const name = parseHubName(hub);
  if (name) return name;
  throw new BrowserError(
    "usage",
    `${show(hub)}: expected a hub name OWNER/NAME[@REVISION]; check the spelling`,
  );
}

/** Whether a name's files never change. */
export function isFixed(choice: HubChoice): boolean {
  return isCommit(hubName(choice).revision);
}

/** The headers of requests to a hub. */
export function hubHeaders({ token }: HubChoice): Readonly<Record<string, string>> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

const hub = "https://huggingface.co";

/**
 * The checkpoint's files in a repository, at its current commit.
 * @throws BrowserError  "network", "damaged"; HubError  it holds no checkpoint
 * @source the hub's API: models/REPO/revision/REVISION, models/REPO/tree/COMMIT. The package
 *         `@huggingface/hub`, which Node uses, needs settings of a bundler
 */
export async function hubListing(choice: HubChoice, signal: AbortSignal): Promise<Listing> {
  const name = hubName(choice);
  const label = hubNameText(name);
  const options = { signal, headers: hubHeaders(choice) };
  const endpoint = (choice.endpoint ?? hub).replace(/\/+$/, "");
  const api = `${endpoint}/api/models/${name.repo}`;
  const about = `${api}/revision/${encodeURIComponent(name.revision)}`;
  const { sha: commit } = parseJsonObject((await askText(about, options)).text, about, "content");
  if (typeof commit !== "string" || !isCommit(commit))
    throw new BrowserError("network", `${about}: expected a commit id, got none; check that it is a hub`);
  const files = new Map<string, ListedFile>();
  let page: string | undefined = `${api}/tree/${commit}?recursive=true`;
  while (page !== undefined && files.size < mostFiles) {
    const answer: Answer = await askText(page, options);
    for (const entry of entriesOf(answer.text, page)) {
      if (entry.type === "directory") continue;
      const lfs = isObject(entry.lfs) ? entry.lfs : undefined;
      const hash = lfs
        ? ({ kind: "sha256", value: lfs.oid } as const)
        : ({ kind: "git", value: entry.oid } as const);
      const address = String(entry.path).split("/").map(encodeURIComponent).join("/");
      const url = `${endpoint}/${name.repo}/resolve/${commit}/${address}`;
      const file = listedFile({ path: entry.path, size: lfs?.size ?? entry.size, hash, url }, page);
      files.set(file.path, file);
    }
    const next: string | undefined = /<([^>]+)>; *rel="next"/.exec(answer.link)?.[1];
    page = next !== undefined && new URL(next).origin === new URL(endpoint).origin ? next : undefined;
  }
  const chosen = checkpointFiles([...files.keys()], label);
  return { name: label, files: chosen.map((path) => files.get(path)!) };
}

function entriesOf(text: string, at: string): Record<string, unknown>[] {
  const entries: unknown = parseJsonObject(`{"files":${text}}`, at, "content").files;
  if (Array.isArray(entries)) return entries.map((entry: unknown) => (isObject(entry) ? entry : {}));
  throw new BrowserError("network", `${at}: expected a list of files, got another; check that it is a hub`);
}
