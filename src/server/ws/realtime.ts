import { isObject, show } from "../../json.js";
import type { LiveEvent } from "../engine/engine.js";
import { ApiError, apiError, wrongField } from "../http/api-error.js";
import { newId } from "./ids.js";
import { type Chain, Items } from "./items.js";
import { LiveFeed } from "./live-feed.js";
import type { Peer, Protocol, SessionParts } from "./peer.js";
import { type RealtimeSettings, parseRealtime, realtimeDefaults } from "./realtime-settings.js";

const events = [
  "session.update",
  "transcription_session.update",
  "input_audio_buffer.append",
  "input_audio_buffer.commit",
  "input_audio_buffer.clear",
];
const leastCommit = 0.1; // s of audio

/**
 * OpenAI's realtime transcription: audio in base64 comes in `input_audio_buffer.append`; each segment
 * of speech, or each commit, becomes an item with its transcript.
 * @source OpenAI's API: realtime, transcription sessions, and its beta
 */
export class RealtimeProtocol implements Protocol {
  readonly #id = newId("sess");
  readonly #chain: Chain = { previous: null };
  #settings: RealtimeSettings;
  #feed: LiveFeed | undefined;
  /** Feeds before it whose last texts are awaited. */
  readonly #ending = new Set<LiveFeed>();
  /** Of the feed. */
  #items: Items | undefined;
  /** Of the feed, where the newest commit or clear was, s. */
  #base = 0;
  /** Of the session, where the feed began, s. */
  #begin = 0;

  /** @param beta  names and forms of the beta */
  constructor(
    private readonly parts: SessionParts,
    private readonly peer: Peer,
    private readonly beta: boolean,
  ) {
    this.#settings = realtimeDefaults(parts.settings.model);
    this.#describe(beta, "created");
  }

  text(message: string): void {
    let event: unknown = message;
    try {
      event = JSON.parse(message);
    } catch {
      // a text is refused as other values are
    }
    const eventId = isObject(event) && typeof event.event_id === "string" ? event.event_id : null;
    try {
      if (!isObject(event)) throw wrongField("event", "a JSON object", show(event));
      this.#take(event);
    } catch (error) {
      const { message: text, type, code = null, param = null } = apiError(error);
      this.#send({ type: "error", error: { type, code, message: text, param, event_id: eventId } });
    }
  }

  binary(): void {
    const error = new ApiError(400, "expected JSON events, got bytes", { code: "invalid_event" });
    this.#send({ type: "error", error: { ...error.body.error, event_id: null } });
  }

  async finish(): Promise<void> {
    await this.#feed?.commit();
  }

  close(): void {
    for (const feed of [this.#feed, ...this.#ending]) feed?.close();
    this.#feed = undefined;
  }

  #send(event: object): void {
    this.peer.send({ event_id: newId("event"), ...event });
  }

  #take(event: Readonly<Record<string, unknown>>): void {
    switch (event.type) {
      case "session.update":
        this.#update(event.session, false);
        return;
      case "transcription_session.update":
        this.#update(event.session, true);
        return;
      case "input_audio_buffer.append":
        this.#open().push(bytesOf(event.audio));
        return;
      case "input_audio_buffer.commit":
        this.#commit();
        return;
      case "input_audio_buffer.clear":
        this.#feed?.clear();
        this.#base = this.#feed?.seconds ?? 0;
        this.#send({ type: "input_audio_buffer.cleared" });
        return;
      default:
        throw wrongField("type", `one of ${events.join(", ")}`, show(event.type));
    }
  }

  /** New settings hold for the audio that follows. */
  #update(session: unknown, beta: boolean): void {
    this.#settings = parseRealtime(session, this.#settings, this.parts.settings.model);
    const feed = this.#feed;
    this.#feed = undefined;
    if (feed) {
      this.#begin += feed.seconds;
      this.#base = 0;
      this.#ending.add(feed);
      void feed.commit().then(() => {
        feed.close();
        this.#ending.delete(feed);
      });
    }
    this.#describe(beta, "updated");
  }

  #describe(beta: boolean, what: "created" | "updated"): void {
    const { transcription, rate, turnDetection } = this.#settings;
    const flat = {
      id: this.#id,
      object: "realtime.transcription_session",
      input_audio_format: "pcm16",
      input_audio_transcription: transcription,
      turn_detection: turnDetection,
    };
    const nested = {
      id: this.#id,
      object: "realtime.transcription_session",
      type: "transcription",
      audio: {
        input: {
          format: { type: "audio/pcm", rate },
          transcription,
          noise_reduction: null,
          turn_detection: turnDetection,
        },
      },
      include: null,
      expires_at: 0,
    };
    const type = `${beta ? "transcription_session" : "session"}.${what}`;
    this.#send({ type, session: beta ? flat : nested });
  }

  #open(): LiveFeed {
    if (this.#feed) return this.#feed;
    const { wish, detection, rate } = this.#settings;
    const begin = this.#begin;
    const options = {
      ...wish,
      ...detection,
      endpoints: detection !== undefined,
      partials: detection !== undefined,
      words: false,
    };
    const items = new Items((event) => this.#send(event), this.#chain, this.beta, detection !== undefined);
    this.#items = items;
    const hear = (event: LiveEvent): void => this.#hear(event, items, begin);
    return (this.#feed = new LiveFeed(this.parts.engine, options, rate, this.peer, hear));
  }

  #commit(): void {
    const feed = this.#feed;
    if (!feed || feed.seconds - this.#base < leastCommit)
      throw new ApiError(400, `expected a buffer of at least ${leastCommit * 1000} ms of audio, got less`, {
        code: "input_audio_buffer_commit_empty",
      });
    const seconds = feed.seconds - this.#base;
    this.#base = feed.seconds;
    if (this.#settings.detection === undefined) this.#items?.commit(seconds);
    else this.#items?.expect();
    void feed.commit();
  }

  #hear(event: LiveEvent, items: Items, begin: number): void {
    switch (event.type) {
      case "started":
        items.start(begin + event.start);
        return;
      case "partial":
        items.partial(event.stable);
        return;
      case "stopped":
        items.stop(begin + event.end);
        return;
      case "final":
        items.final(event.segment);
        return;
      case "committed":
        items.committed();
        return;
      case "failed":
        this.#fail(event.error, items);
        return;
      case "heard":
    }
  }

  #fail(error: Error, items: Items): void {
    const { status, message, type, code = null, param = null } = apiError(error);
    items.fail({ type, code, message, param });
    this.#send({ type: "error", error: { type, code, message, param, event_id: null } });
    if (status < 500) this.peer.close(1008, "invalid_request");
    else this.peer.close(1011, "the engine failed");
  }
}

const base64 = /^[A-Za-z0-9+/]*={0,2}$/;

function bytesOf(audio: unknown): Buffer {
  const whole =
    typeof audio === "string" && audio.length % 4 !== 1 && (audio.length % 4 === 0 || !audio.endsWith("="));
  if (!whole || !base64.test(audio)) throw wrongField("audio", "PCM in base64", show(audio));
  return Buffer.from(audio, "base64");
}
