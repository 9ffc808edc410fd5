import { CheckpointError } from "../../formats/errors.js";
import { type ByteSource, checkRange } from "../../checkpoint/source.js";
import { BrowserError } from "../errors.js";
import { mostBytes } from "./listing.js";

/** How an address is asked. */
export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Asks for an address.
 * @throws BrowserError  "network": no answer, or a refusal; the signal's reason
 */
export async function ask(url: string, { signal, headers }: FetchOptions): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, { signal, ...(headers && { headers }) });
  } catch (cause) {
    signal.throwIfAborted();
    throw new BrowserError(
      "network",
      `${url}: cannot be fetched; check the network, and that the server lets this page read it (CORS)`,
      { cause },
    );
  }
  if (answer.ok) return answer;
  await answer.body?.cancel();
  const why = [401, 403].includes(answer.status) ? "it wants a token" : "check the address";
  throw new BrowserError("network", `${url}: the server answers with status ${answer.status}; ${why}`);
}

/** A text, and where the next page of it is. */
export interface Answer {
  readonly text: string;
  readonly link: string;
}

/** A text of bounded size. @throws as ask */
export async function askText(url: string, options: FetchOptions): Promise<Answer> {
  const answer = await ask(url, options);
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of pieces(answer, url, options.signal)) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > mostBytes)
      throw new BrowserError("damaged", `${url}: expected at most ${mostBytes} bytes, got more`);
  }
  return { text: text + decoder.decode(), link: answer.headers.get("link") ?? "" };
}

/** The bytes of an answer as they come. @throws BrowserError  "network": it broke off */
export async function* pieces(
  answer: Response,
  url: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reader = answer.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const step = await reader.read().catch((cause: unknown) => {
        signal.throwIfAborted();
        throw new BrowserError(
          "network",
          `${url}: the download broke off; load the page again, and it goes on`,
          { cause },
        );
      });
      if (step.done) return;
      yield step.value as Uint8Array;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** A file on a server of which a few parts are read, such as the header of a file of weights. */
export function remoteSource(name: string, url: string, size: number, options: FetchOptions): ByteSource {
  const source: ByteSource = {
    name,
    size,
    read: async (offset, length) => {
      checkRange(source, offset, length);
      const bytes = new Uint8Array(length);
      if (length === 0) return bytes;
      const range = `bytes=${offset}-${offset + length - 1}`;
      const answer = await ask(url, { ...options, headers: { ...options.headers, range } });
      let at = answer.status === 206 ? offset : 0; // a server without ranges sends the whole file
      for await (const piece of pieces(answer, url, options.signal)) {
        const from = Math.max(0, offset - at);
        const part = piece.subarray(from, Math.max(from, offset + length - at));
        bytes.set(part, Math.max(0, at - offset));
        at += piece.length;
        if (at >= offset + length) return bytes;
      }
      throw new CheckpointError({ file: name, field: "size", expected: `${size} bytes`, got: at });
    },
    close: () => Promise.resolve(),
  };
  return source;
}
