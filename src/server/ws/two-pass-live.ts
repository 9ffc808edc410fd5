import { joinTexts } from "../../scripts.js";
import type { TranscriptSegment } from "../../decode/segments/recording.js";
import type { LiveEvent, LiveOptions } from "../engine/engine.js";
import { LiveFeed } from "./live-feed.js";
import type { Peer, SessionParts } from "./peer.js";
import type { TwoPassSettings } from "./two-pass-settings.js";

/** One stream of audio of the modes `2pass` and `online`, and its answers. */
export class LiveUtterance {
  readonly #feed: LiveFeed;
  /** Of the open sentence, what was sent. */
  #sent = "";
  /** The newest sentence, once the audio has ended: it may be the last one. */
  #held: TranscriptSegment | undefined;
  /** Fields of the last answer, once the audio has ended. */
  #ending: object | undefined;

  constructor(
    parts: SessionParts,
    private readonly settings: TwoPassSettings,
    private readonly peer: Peer,
    private readonly fail: (error: Error) => void,
  ) {
    const { wish, rate, mode } = settings;
    const corrects = mode === "2pass"; // the offline text corrects the online ones
    const options: LiveOptions = {
      ...wish,
      endpoints: true,
      partials: true,
      freeFinal: corrects,
      words: corrects,
    };
    this.#feed = new LiveFeed(parts.engine, options, rate, peer, (event) => this.#hear(event));
  }

  push(bytes: Buffer): void {
    this.#feed.push(bytes);
  }

  /** The audio has ended. @returns once the last answer was sent */
  async end(extra: object): Promise<void> {
    this.#ending = extra;
    await this.#feed.commit();
    this.#feed.close();
  }

  close(): void {
    this.#feed.close();
  }

  #hear(event: LiveEvent): void {
    if (event.type === "partial") this.#online(event.stable);
    else if (event.type === "final") this.#sentence(event.segment);
    else if (event.type === "committed")
      sendSentences(this.peer, this.settings, this.#held ? [this.#held] : [], true, this.#ending);
    else if (event.type === "failed") this.fail(event.error);
  }

  /** Sends what is new of the open sentence. */
  #online(text: string): void {
    const { wavName: wav_name, mode } = this.settings;
    const rest = text.startsWith(this.#sent) ? text.slice(this.#sent.length) : "";
    if (rest === "") return;
    this.#sent = text;
    this.peer.send({ mode: mode === "2pass" ? "2pass-online" : mode, wav_name, text: rest, is_final: false });
  }

  #sentence(segment: TranscriptSegment): void {
    if (this.settings.mode === "online") this.#online(segment.text);
    this.#sent = "";
    if (this.settings.mode === "online" || segment.text === "") return;
    const ready = this.#ending ? this.#held : segment;
    if (this.#ending) this.#held = segment;
    if (ready) sendSentences(this.peer, this.settings, [ready], false);
  }
}

/** Sends sentences with their times, or the empty end. */
export function sendSentences(
  peer: Peer,
  { wavName: wav_name, mode }: TwoPassSettings,
  segments: readonly TranscriptSegment[],
  final: boolean,
  extra: object = {},
): void {
  const timed = segments.some(({ words }) => words !== undefined);
  peer.send({
    mode: mode === "2pass" ? "2pass-offline" : mode,
    wav_name,
    text: joinTexts(segments.map(({ text }) => text)),
    is_final: final,
    ...(timed && {
      timestamp: JSON.stringify(segments.flatMap(timesOf)),
      stamp_sents: segments.map(stampOf),
    }),
    ...extra,
  });
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}

function timesOf({ words = [] }: TranscriptSegment): number[][] {
  return words.map(({ start, end }) => [milliseconds(start), milliseconds(end)]);
}

const marks = /[\p{P}\s]+$/u;

function stampOf(segment: TranscriptSegment): object {
  const { text, start, end, words = [] } = segment;
  return {
    text_seg: words.map((word) => word.text.trim().replace(marks, "")).join(" "),
    punc: marks.exec(text)?.[0].trim() ?? "",
    start: milliseconds(start),
    end: milliseconds(end),
    ts_list: timesOf(segment),
  };
}
