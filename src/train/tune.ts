import { TrainError } from "./errors.js";

/** What training can change. */
const tunableParts = ["adaptor", "lora", "encoder"] as const;
/** A part of the model that training can change. */
export type TunablePart = (typeof tunableParts)[number];

const prefixes: Readonly<Record<TunablePart, string | undefined>> = {
  adaptor: "model.multi_modal_projector.",
  encoder: "model.audio_tower.",
  lora: undefined, // its parameters are added to the model, not loaded with it
};

/**
 * "adaptor,lora" → its parts, each once, in the order of `tunableParts`.
 * @throws TrainError  none, or an unknown one
 */
export function parseTune(text: string): TunablePart[] {
  const wanted = text.split(",").map((part) => part.trim());
  const unknown = wanted.find((part) => !tunableParts.some((known) => known === part));
  if (unknown !== undefined) {
    throw new TrainError(
      `--tune: expected some of ${tunableParts.join(", ")}, got ${JSON.stringify(unknown)}`,
    );
  }
  return tunableParts.filter((part) => wanted.includes(part));
}

/** Whether a parameter of the checkpoint belongs to one of the parts. */
export function isTuned(parts: readonly TunablePart[]): (name: string) => boolean {
  const starts = parts.flatMap((part) => prefixes[part] ?? []);
  return (name) => starts.some((start) => name.startsWith(start));
}
