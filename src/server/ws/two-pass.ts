import { type JsonObject, isObject, show } from "../../json.js";
import { apiError, wrongField } from "../http/api-error.js";
import type { Peer, Protocol, SessionParts } from "./peer.js";
import { Recorded } from "./recorded.js";
import { LiveUtterance, sendSentences } from "./two-pass-live.js";
import { type TwoPassSettings, parseTwoPass, twoPassDefaults } from "./two-pass-settings.js";

/**
 * FunASR's WebSocket protocol: JSON with the settings, then audio, then `{"is_speaking": false}`.
 * `2pass` answers with what is certain of the open sentence (`2pass-online`) and with each sentence
 * when it ends (`2pass-offline`), `online` with the first alone, `offline` with the whole at the
 * end. The last answer has `is_final`.
 * @source FunASR `runtime/docs/websocket_protocol.md`
 */
export class TwoPassProtocol implements Protocol {
  #settings: TwoPassSettings = twoPassDefaults;
  /** The open audio: one of both. */
  #live: LiveUtterance | undefined;
  #recorded: Recorded | undefined;
  /** Their audio has ended, their last answer is due. */
  readonly #ending = new Set<{ readonly close: () => unknown }>();
  /** Settles once all audio that has ended is answered. */
  #answered: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(
    private readonly parts: SessionParts,
    private readonly peer: Peer,
  ) {}

  text(message: string): void {
    if (this.#failed) return;
    try {
      const object = objectOf(message);
      this.#settings = parseTwoPass(object, this.#settings);
      const { mode } = this.#settings;
      if (mode === "offline" ? this.#live : this.#recorded) this.#end({}); // the mode holds for new audio
      if (object.is_speaking === false) this.#end(object);
    } catch (error) {
      this.#fail(error, "invalid_request");
    }
  }

  binary(bytes: Buffer): void {
    if (this.#failed) return;
    try {
      if (!this.#live && !this.#recorded) this.#open();
      (this.#live ?? this.#recorded!).push(bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  async finish(): Promise<void> {
    if (this.#live ?? this.#recorded) this.#end({});
    await this.#answered;
  }

  close(): void {
    for (const part of [this.#live, this.#recorded, ...this.#ending]) void part?.close();
    this.#live = undefined;
    this.#recorded = undefined;
  }

  #open(): void {
    const settings = this.#settings;
    if (settings.mode === "offline")
      this.#recorded = new Recorded(this.parts, settings, this.peer, (error) => this.#fail(error));
    else
      this.#live = new LiveUtterance(this.parts, settings, this.peer, (error) =>
        this.#fail(error, apiError(error).status < 500 ? undefined : "engine_failed"),
      );
  }

  /** The last answer: it says what is wrong, and the connection ends. */
  #fail(error: unknown, code?: string): void {
    const { status, message, ...answer } = apiError(error);
    const { wavName: wav_name, mode } = this.#settings;
    const reason = code ?? answer.code ?? "invalid_request";
    const { param } = answer;
    const fault = { code: reason, message, ...(param !== undefined && { param }) };
    this.#failed = true;
    this.peer.send({ mode, wav_name, text: "", is_final: true, error: fault });
    this.peer.close(status < 500 ? 1008 : 1011, reason);
    this.close();
  }

  /** The audio has ended; a client that asks for `is_end` gets it back. */
  #end({ is_end: isEnd }: JsonObject): void {
    const extra = isEnd === true ? { is_end: true } : {};
    const [live, recorded, before] = [this.#live, this.#recorded, this.#answered];
    this.#live = undefined; // the next audio begins at 0
    this.#recorded = undefined;
    const part = live ?? recorded;
    if (part) this.#ending.add(part);
    this.#answered = (live ? live.end(extra) : this.#endRecorded(recorded, extra, before)).then(async () => {
      if (part) this.#ending.delete(part);
      await before;
    });
  }

  async #endRecorded(recorded: Recorded | undefined, extra: object, before: Promise<void>): Promise<void> {
    const { settings } = recorded ?? { settings: this.#settings };
    try {
      const result = await recorded?.result();
      await before;
      sendSentences(this.peer, settings, result?.segments ?? [], true, extra);
    } catch (error) {
      if (!this.#failed) this.#fail(error);
    }
  }
}

/** @throws ApiError  the text is no JSON object */
function objectOf(message: string): JsonObject {
  let object: unknown;
  try {
    object = JSON.parse(message);
  } catch {
    throw wrongField("message", "a JSON object", show(message));
  }
  if (!isObject(object)) throw wrongField("message", "a JSON object", show(object));
  return object;
}
