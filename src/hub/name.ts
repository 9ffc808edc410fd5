/** A repository on the hub, at a branch, tag or commit. */
export interface HubName {
  /** OWNER/NAME */
  readonly repo: string;
  readonly revision: string;
}

const PART = /^(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;
const REVISION = /^[A-Za-z0-9_][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/;

/**
 * Parses OWNER/NAME or OWNER/NAME@REVISION; undefined for other text.
 * @source huggingface_hub `validate_repo_id`
 */
export function parseHubName(text: string): HubName | undefined {
  const [, repo, revision = "main"] = /^([^@]*)(?:@(.*))?$/s.exec(text)!;
  const parts = repo.split("/");
  const isRepo = parts.length === 2 && repo.length <= 96;
  if (!isRepo || !parts.every((part) => PART.test(part) && !part.endsWith(".git"))) return undefined;
  const isRevision = revision.length <= 200 && REVISION.test(revision) && !revision.includes("..");
  return isRevision ? { repo, revision } : undefined;
}

/** True for a full commit id, whose files never change. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

export function hubNameText({ repo, revision }: HubName): string {
  return revision === "main" ? repo : `${repo}@${revision}`;
}
