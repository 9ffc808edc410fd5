import { InvalidArgumentError, Option } from "commander";
import type { DecodedAudio } from "../frontend/audio.js";
import { eachChannel } from "../frontend/channel.js";

/** A channel counted from 1, or every channel by itself. */
export type ChannelChoice = number | "each";

/** The option --channel of commands that transcribe or translate. */
export function channelOption(): Option {
  return new Option(
    "--channel <which>",
    "a channel by number from 1, left, right, or each (a result for every channel); default: their mean",
  ).argParser((text): ChannelChoice => (text === "each" ? text : channelNumber(text, "left, right or each")));
}

/** The option --channel of commands with one reference a clip. */
export function oneChannelOption(): Option {
  return new Option(
    "--channel <which>",
    "a channel by number from 1, left or right; default: their mean",
  ).argParser((text) => channelNumber(text, "left or right"));
}

function channelNumber(text: string, names: string): number {
  if (text === "left") return 1;
  if (text === "right") return 2;
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`Expected a whole number from 1, ${names}.`);
}

interface Chosen {
  readonly audio: DecodedAudio;
  /** Counted from 1; absent: the mean of all channels. */
  readonly channel?: number;
  readonly label?: string;
}

/** The channels to transcribe of a clip that was decoded with `keep` of this choice. */
export function chosenChannels(audio: DecodedAudio, choice: ChannelChoice | undefined): readonly Chosen[] {
  if (choice === undefined) return [{ audio }];
  return choice === "each" ? eachChannel(audio) : [{ audio, channel: choice }];
}
