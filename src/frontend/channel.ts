import { channelLabel, type DecodedAudio } from "./audio.js";
import { AudioError } from "./errors.js";

/**
 * One channel of a clip.
 * @param channel  counted from 1: the first, or left, is 1
 * @param file     the clip's name, for errors
 * @throws AudioError  the clip has no such channel; the message names those that it has
 */
export function pickChannel(audio: DecodedAudio, channel: number, file = "audio"): DecodedAudio {
  checkChannel(channel, audio.channels.length, file);
  return { ...audio, channels: [audio.channels[channel - 1]] };
}

/** @throws AudioError  a clip of `count` channels has no such channel */
export function checkChannel(channel: number, count: number, file: string): void {
  if (Number.isInteger(channel) && channel >= 1 && channel <= count) return;
  const names = count === 1 ? "1, the only one" : count === 2 ? "1 (left) or 2 (right)" : `1..${count}`;
  throw new AudioError(file, "channel", names, channel, {
    advice: "name one of these, or leave the channel out",
  });
}

/** Each channel of a clip, with its number and its name: left and right of two, else the number. */
export function eachChannel(
  audio: DecodedAudio,
): { readonly channel: number; readonly label: string; readonly audio: DecodedAudio }[] {
  const { channels } = audio;
  return channels.map((samples, i) => ({
    channel: i + 1,
    label: channelLabel(i + 1, channels.length),
    audio: { ...audio, channels: [samples] },
  }));
}
