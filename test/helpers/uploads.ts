import { form } from "./serve.js";

/** A small upload that only a fake engine takes. */
export const audio = (bytes = 10): File =>
  new File([new Uint8Array(bytes).fill(7)], "clip.wav", { type: "audio/wav" });

/** Fields of a request with audio. */
export type Fields = Readonly<Record<string, string | readonly string[]>>;

/** Sends an upload to be transcribed by the model "demo". */
export function post(
  address: string,
  fields: Fields = {},
  file: File | undefined = audio(),
): Promise<Response> {
  const body = form({ model: "demo", ...fields }, file);
  return fetch(`${address}/v1/audio/transcriptions`, { method: "POST", body });
}

/** A value of `/metrics`. */
export async function metric(address: string, name: string): Promise<number> {
  const text = await (await fetch(`${address}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}
