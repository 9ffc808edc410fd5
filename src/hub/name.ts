/** A repository on the hub, at a branch, tag or commit. */
export interface HubName {
  /** OWNER/NAME */
  readonly repo: string;
  readonly revision: string;
}

const PART = /^(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;
const REVISION = /^[A-Za-z0-9_][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/;

/** OWNER/NAME or OWNER/NAME@REVISION, or undefined where the text is none. @source huggingface_hub `validate_repo_id` */
export function parseHubName(text: string): HubName | undefined {
  const at = text.indexOf("@");
  const repo = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? "main" : text.slice(at + 1);
  const parts = repo.split("/");
  if (
    parts.length !== 2 ||
    repo.length > 96 ||
    !parts.every((part) => PART.test(part) && !part.endsWith(".git"))
  )
    return undefined;
  return revision.length <= 200 && REVISION.test(revision) && !revision.includes("..")
    ? { repo, revision }
    : undefined;
}

/** A full commit id: what it names never changes. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

export function hubNameText({ repo, revision }: HubName): string {
  return revision === "main" ? repo : `${repo}@${revision}`;
}
