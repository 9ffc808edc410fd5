import type { DecodedAudio } from "./audio.js";
import { pickChannel } from "./channel.js";
import { AudioError } from "./errors.js";

/** A part of a clip. */
export interface AudioPart {
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  readonly channel?: number | undefined;
}

/**
 * Cuts a part out of a clip.
 * @param part  `start` and `end` in seconds; default 0 and the clip's end. A part may end up to 0.1
 *              s past it: corpora round. `channel` is counted from 1; default: all of them
 * @throws AudioError  the part is empty or not within the clip; there is no such channel
 */
export function cutAudio(
  whole: DecodedAudio,
  { start = 0, end, channel }: AudioPart,
  file = "audio",
): DecodedAudio {
  const audio = channel === undefined ? whole : pickChannel(whole, channel, file);
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
