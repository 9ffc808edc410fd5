import { jointOf } from "../../scripts.js";
import type { TranscriptSegment } from "../../decode/segments/recording.js";
import { newId } from "./ids.js";

/** A piece of audio that has a transcript, or will have one. */
interface Item {
  readonly id: string;
  /** A commit made it: its text is whole with the commit's end, else with its first final text. */
  readonly byCommit: boolean;
  text: string;
  seconds: number;
}

/** The newest item of a session, which the next one names. */
export interface Chain {
  previous: string | null;
}

/** The items of one stream of audio: their events in the order that OpenAI's API sends them. */
export class Items {
  /** Its speech has not ended. */
  #open: Item | undefined;
  /** They wait for their final text. */
  readonly #waiting: Item[] = [];
  /** Commits that found speech to end have an item by it; others get one of their own. */
  #expected = false;

  constructor(
    private readonly send: (event: object) => void,
    private readonly chain: Chain,
    private readonly beta: boolean,
    /** Whether the segments of speech are items; else commits are. */
    private readonly bySpeech: boolean,
  ) {}

  /** Speech begins, at seconds of the session. */
  start(seconds: number): void {
    if (!this.bySpeech) return;
    this.#open = newItem(false);
    this.send({
      type: "input_audio_buffer.speech_started",
      audio_start_ms: Math.round(seconds * 1000),
      item_id: this.#open.id,
    });
  }

  stop(seconds: number): void {
    if (!this.bySpeech) return;
    const item = (this.#open ??= newItem(false));
    this.#open = undefined;
    this.send({
      type: "input_audio_buffer.speech_stopped",
      audio_end_ms: Math.round(seconds * 1000),
      item_id: item.id,
    });
    this.#add(item);
    this.#expected = false;
  }

  /** The client ended a buffer, which is an item. */
  commit(seconds: number): void {
    this.#add({ ...newItem(true), seconds });
  }

  /** The client ended a buffer in which the engine looks for speech. */
  expect(): void {
    this.#expected = true;
  }

  /** Everything before a commit has its text. */
  committed(): void {
    if (this.#expected) this.#add(newItem(true));
    this.#expected = false;
    if (this.#waiting[0]?.byCommit) this.#complete(this.#waiting[0]);
  }

  /** No text will come any more. */
  fail(error: object): void {
    for (const { id } of this.#waiting.splice(0))
      this.send({
        type: "conversation.item.input_audio_transcription.failed",
        item_id: id,
        content_index: 0,
        error,
      });
  }

  #add(item: Item): void {
    const { id } = item;
    const { previous } = this.chain;
    this.chain.previous = id;
    this.#waiting.push(item);
    this.send({ type: "input_audio_buffer.committed", previous_item_id: previous, item_id: id });
    const content = [{ type: "input_audio", transcript: null }];
    const described = {
      id,
      object: "realtime.item",
      type: "message",
      status: "completed",
      role: "user",
      content,
    };
    const types = this.beta
      ? ["conversation.item.created"]
      : ["conversation.item.added", "conversation.item.done"];
    for (const type of types) this.send({ type, previous_item_id: previous, item: described });
  }

  /** Stable text of the open item. */
  partial(text: string): void {
    if (this.#open) this.#delta(this.#open, text);
  }

  /** A final text: of the oldest item that waits. */
  final({ text, start, end }: TranscriptSegment): void {
    const [item] = this.#waiting;
    if (!item) return;
    item.seconds = Math.max(item.seconds, end - start);
    this.#delta(item, item.byCommit ? item.text + jointOf(item.text, text) + text : text);
    if (!item.byCommit) this.#complete(item, text);
  }

  #delta(item: Item, text: string): void {
    if (!text.startsWith(item.text) || text === item.text) return;
    const delta = text.slice(item.text.length);
    item.text = text;
    this.send({
      type: "conversation.item.input_audio_transcription.delta",
      item_id: item.id,
      content_index: 0,
      delta,
    });
  }

  #complete(item: Item, transcript = item.text): void {
    this.#waiting.shift();
    this.send({
      type: "conversation.item.input_audio_transcription.completed",
      item_id: item.id,
      content_index: 0,
      transcript,
      usage: { type: "duration", seconds: Math.round(item.seconds * 1000) / 1000 },
    });
  }
}

function newItem(byCommit: boolean): Item {
  return { id: newId("item"), byCommit, text: "", seconds: 0 };
}
