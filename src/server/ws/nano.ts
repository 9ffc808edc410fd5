import { show } from "../../json.js";
import { joinTexts } from "../../scripts.js";
import type { TranscriptSegment } from "../../decode/segments/recording.js";
import type { LiveEvent, Wish } from "../engine/engine.js";
import { apiError } from "../http/api-error.js";
import { parseLanguage } from "../http/fields.js";
import { LiveFeed } from "./live-feed.js";
import type { Peer, Protocol, SessionParts } from "./peer.js";

const rate = 16_000;
const mostHotwords = 1000;

/**
 * Fun-ASR-Nano's realtime protocol: texts START, HOTWORDS:a,b, LANGUAGE:x, COMMIT, STOP, and PCM of
 * 16 bits at 16 kHz between. COMMIT ends the open segment and empties the list of sentences.
 * @source FunASR 1.4.16 `funasr/bin/realtime_ws.py`
 */
export class NanoProtocol implements Protocol {
  #active = false;
  /** No word is due about audio that comes now. */
  #stopped = false;
  #wish: Wish = {};
  #feed: LiveFeed | undefined;
  #sentences: { readonly text: string; readonly start: number; readonly end: number }[] = [];
  #partial: { readonly text: string; readonly startMs: number } | undefined;

  constructor(
    private readonly parts: SessionParts,
    private readonly peer: Peer,
  ) {}

  text(message: string): void {
    const text = message.trim();
    const [, name, value = ""] = /^([A-Za-z_]+)(?::([\s\S]*))?$/.exec(text) ?? [];
    switch (name?.toUpperCase()) {
      case "START":
        this.#start();
        return;
      case "HOTWORDS":
        this.#hotwords(value);
        return;
      case "LANGUAGE":
        this.#language(value);
        return;
      case "COMMIT":
        if (this.#active) void this.#commit();
        else this.#refuse("Session is not active; send START first");
        return;
      case "STOP":
        void this.#stop();
        return;
      default:
        this.#refuse(`message: expected START, HOTWORDS:, LANGUAGE:, COMMIT or STOP, got ${show(text)}`);
    }
  }

  binary(bytes: Buffer): void {
    if (this.#active) this.#open().push(bytes);
    else if (!this.#stopped) this.#refuse("audio: expected START before it, got audio alone");
    this.#stopped ||= !this.#active; // one refusal; audio on its way behind STOP has none
  }

  async finish(): Promise<void> {
    if (this.#feed) await this.#commit();
  }

  close(): void {
    this.#feed?.close();
    this.#feed = undefined;
  }

  #refuse(error: string): void {
    this.peer.send({ event: "error", error });
  }

  #start(): void {
    this.close();
    this.#active = true;
    [this.#sentences, this.#partial] = [[], undefined];
    this.peer.send({ event: "started" });
  }

  #hotwords(value: string): void {
    const hotwords = value
      .split(",")
      .map((word) => word.trim())
      .filter((word) => word !== "");
    if (hotwords.length > mostHotwords) {
      this.#refuse(`HOTWORDS: expected at most ${mostHotwords} words, got ${hotwords.length}`);
      return;
    }
    const { language } = this.#wish;
    this.#wish = { ...(language !== undefined && { language }), ...(hotwords.length > 0 && { hotwords }) };
    this.peer.send({ event: "hotwords_set", hotwords });
  }

  #language(value: string): void {
    const name = value.trim();
    const { hotwords } = this.#wish;
    try {
      const language = name === "" || name === "auto" ? undefined : parseLanguage("LANGUAGE", name);
      this.#wish = { ...(hotwords && { hotwords }), ...(language !== undefined && { language }) };
      this.peer.send({ event: "language_set", language: name });
    } catch (error) {
      this.#refuse((error as Error).message);
    }
  }

  /** Hotwords and language hold from here on. */
  #open(): LiveFeed {
    const options = { ...this.#wish, endpoints: true, partials: true, words: false };
    return (this.#feed ??= new LiveFeed(this.parts.engine, options, rate, this.peer, (event) =>
      this.#hear(event),
    ));
  }

  #hear(event: LiveEvent): void {
    if (event.type === "partial") {
      const text = joinTexts([event.stable, event.tentative]);
      this.#partial = { text, startMs: milliseconds(event.start) };
      this.#report(false);
    } else if (event.type === "final") {
      this.#partial = undefined;
      this.#take(event.segment);
      this.#report(false);
    } else if (event.type === "committed") {
      this.#partial = undefined;
      this.#report(true);
      this.#sentences = [];
    } else if (event.type === "failed") {
      const { status, message } = apiError(event.error);
      this.#refuse(message);
      if (status < 500) this.peer.close(1008, "invalid_request");
      else this.peer.close(1011, "the engine failed");
    }
  }

  #take({ text, start, end }: TranscriptSegment): void {
    if (text !== "") this.#sentences.push({ text, start: milliseconds(start), end: milliseconds(end) });
  }

  #report(final: boolean): void {
    const duration = milliseconds(this.#feed?.seconds ?? 0);
    const { text, startMs } = this.#partial ?? { text: "", startMs: duration };
    this.peer.send({
      sentences: this.#sentences,
      partial: final ? "" : text,
      partial_start_ms: final ? 0 : startMs,
      duration_ms: duration,
      is_final: final,
    });
  }

  /** The answer is sent when all before it has its text. */
  #commit(): Promise<void> {
    return this.#open().commit();
  }

  async #stop(): Promise<void> {
    if (this.#active && this.#feed) await this.#commit();
    this.#active = false;
    this.#stopped = true;
    this.close();
    this.peer.send({ event: "stopped" });
  }
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}
