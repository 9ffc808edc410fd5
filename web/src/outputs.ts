import { subtitles } from "../../dist/decode/subtitles/formats.js";
import { adapterName } from "./engine.js";
import { textOf } from "./items.js";
import { type Item, announce, changed, state, texts } from "./state.js";

/** Forms of a transcript, by their file's ending. */
export const formats = ["txt", "srt", "vtt", "json"] as const;

/** Shows for a moment whether a text was copied. */
export async function copy(holder: { copied: string | undefined }, text: string): Promise<void> {
  const done = await navigator.clipboard.writeText(text).then(
    () => true,
    () => false,
  );
  holder.copied = done ? texts().copied : texts().copyFailed;
  announce(holder.copied);
  changed();
  setTimeout(() => {
    holder.copied = undefined;
    changed();
  }, 2000);
}

function json(item: Item): string {
  const { engine } = state;
  const { name, seconds, segments } = item;
  const ready = engine.phase === "ready" ? engine.facts : undefined;
  const made = { model: ready?.model?.name, device: ready && adapterName(ready) };
  return `${JSON.stringify({ file: name, text: textOf(item), audioSeconds: seconds, segments, ...made }, undefined, 1)}\n`;
}

const types = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };

/** Saves a transcript as a file. */
export function save(item: Item, format: (typeof formats)[number]): void {
  const body = format === "json" ? json(item) : subtitles(item.segments, format);
  const url = URL.createObjectURL(new Blob([body], { type: `${types[format]};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${item.name.replace(/\.[^.]+$/, "")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
