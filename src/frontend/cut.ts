import type { DecodedAudio } from "./audio.js";
import { AudioError } from "./errors.js";

/**
 * A part of a clip.
 * @param start  seconds; default 0
 * @param end    seconds; default the clip's end. A part may end up to 0.1 s past it: corpora round
 * @throws AudioError  the part is empty or not within the clip
 */
export function cutAudio(
  audio: DecodedAudio,
  { start = 0, end }: { readonly start?: number | undefined; readonly end?: number | undefined },
  file = "audio",
): DecodedAudio {
  if (start === 0 && end === undefined) return audio;
  const { channels, sampleRate } = audio;
  const { length } = channels[0];
  const first = Math.round(start * sampleRate);
  const last = end === undefined ? length : Math.round(end * sampleRate);
  if (!(first >= 0 && first < last && first < length && last <= length + sampleRate / 10)) {
    const seconds = (length / sampleRate).toFixed(2);
    throw new AudioError(
      file,
      "start and end",
      `a part of its ${seconds} s`,
      `${start} to ${end ?? "its end"}`,
    );
  }
  return { ...audio, channels: channels.map((samples) => samples.slice(first, last)) };
}
