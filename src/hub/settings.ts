import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { errorCode } from "../errors.js";
import { HubError } from "./errors.js";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The hub and its cache, from the environment as in every Hugging Face program. */
export interface HubSettings {
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly cacheDir: string;
  readonly offline: boolean;
  /** False: hard links, for file systems and accounts without symbolic links. */
  readonly symlinks: boolean;
  readonly token?: { readonly value: string; readonly from: string };
}

/**
 * HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE,
 * HF_HUB_DISABLE_SYMLINKS.
 * @param defaultEndpoint  the hub's address, from @huggingface/hub
 * @source huggingface_hub `constants.py`; an empty variable counts as unset
 * @throws HubError  HF_ENDPOINT is not a web address, or the token cannot be sent
 */
export async function hubSettings(env: Environment, defaultEndpoint: string): Promise<HubSettings> {
  const home =
    expand(env, env.HF_HOME) ?? join(env.XDG_CACHE_HOME || join(userHome(env), ".cache"), "huggingface");
  return {
    endpoint: endpoint(env.HF_ENDPOINT || defaultEndpoint),
    cacheDir: expand(env, env.HF_HUB_CACHE) ?? expand(env, env.HUGGINGFACE_HUB_CACHE) ?? join(home, "hub"),
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    symlinks: !isTrue(env.HF_HUB_DISABLE_SYMLINKS),
    token: await findToken(env, expand(env, env.HF_TOKEN_PATH) ?? join(home, "token")),
  };
}

function endpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol) && !url.search && !url.hash) return text.replace(/\/+$/, "");
  throw new HubError(`HF_ENDPOINT: expected a web address, got ${JSON.stringify(text)}; correct or unset it`);
}

async function findToken(env: Environment, file: string): Promise<HubSettings["token"]> {
  if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  for (const from of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
    const value = env[from]?.trim();
    if (value) return checkToken({ value, from });
  }
  try {
    const value = (await readFile(file, "utf8")).trim();
    return value ? checkToken({ value, from: file }) : undefined;
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

function checkToken(token: { value: string; from: string }): { value: string; from: string } {
  if (/^[\x21-\x7e]+$/.test(token.value)) return token;
  throw new HubError(
    `${token.from}: expected a token of printable ASCII, got other characters; copy it again`,
  );
}

function isTrue(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? "");
}

function userHome(env: Environment): string {
  return env.HOME || homedir();
}

/** `~` and `$NAME` as a shell reads them. */
function expand(env: Environment, path: string | undefined): string | undefined {
  if (!path) return undefined;
  return path
    .replace(/^~(?=$|[/\\])/, () => userHome(env))
    .replace(
      /\$(?:\{(\w+)\}|(\w+))/g,
      (all, a: string | undefined, b: string | undefined) => env[a ?? b!] ?? all,
    );
}
