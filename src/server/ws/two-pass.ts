import { type JsonObject, isObject } from "../../json.js";
import { apiError } from "../http/api-error.js";
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
  #live: LiveUtterance | undefined;
  #recorded: Recorded | undefined;
  /** Their audio has ended, their last answer is due. */
  readonly #ending = new Set<{ readonly close: () => unknown }>();

  constructor(
    private readonly parts: SessionParts,
    private readonly peer: Peer,
  ) {}

  text(message: string): void {
    let object: unknown;
    try {
      object = JSON.parse(message);
    } catch {
      // refused as other values are
    }
    if (!isObject(object)) {
      this.#fail("expected a JSON object, got another text");
      return;
    }
    try {
      this.#settings = parseTwoPass(object, this.#settings);
    } catch (error) {
      this.#fail((error as Error).message);
      return;
    }
    if (object.is_speaking === false) void this.#end(object);
  }

  binary(bytes: Buffer): void {
    if (this.#settings.mode === "offline") this.#record(bytes);
    else (this.#live ??= this.#open()).push(bytes);
  }

  async finish(): Promise<void> {
    if (this.#live ?? this.#recorded) await this.#end({});
  }

  close(): void {
    for (const part of [this.#live, this.#recorded, ...this.#ending]) void part?.close();
    this.#live = undefined;
    this.#recorded = undefined;
  }

  #open(): LiveUtterance {
    return new LiveUtterance(this.parts, this.#settings, this.peer, ({ message }) =>
      this.#fail(message, "engine_failed"),
    );
  }

  #fail(message: string, code = "invalid_request"): void {
    const { wavName: wav_name, mode } = this.#settings;
    this.peer.send({ mode, wav_name, text: "", is_final: true, error: { code, message } });
    this.peer.close(code === "invalid_request" ? 1008 : 1011, code);
  }

  #record(bytes: Buffer): void {
    try {
      this.#recorded ??= new Recorded(this.parts, this.#settings);
      this.#recorded.push(bytes, this.peer);
    } catch (error) {
      const { message, code } = apiError(error);
      this.#fail(message, code);
    }
  }

  /** The audio has ended; a client that asks for `is_end` gets it back. */
  async #end({ is_end: isEnd }: JsonObject): Promise<void> {
    const extra = isEnd === true ? { is_end: true } : {};
    const [live, recorded] = [this.#live, this.#recorded];
    this.#live = undefined; // the next audio begins at 0
    this.#recorded = undefined;
    const parts = [live, recorded].filter((part) => part !== undefined);
    for (const part of parts) this.#ending.add(part);
    if (recorded ?? !live) await this.#endRecorded(recorded, extra);
    if (live) await live.end(extra);
    for (const part of parts) this.#ending.delete(part);
  }

  async #endRecorded(recorded: Recorded | undefined, extra: object): Promise<void> {
    const settings = this.#settings;
    try {
      const result = await recorded?.result();
      sendSentences(this.peer, settings, result?.segments ?? [], true, extra);
    } catch (error) {
      const { message, code } = apiError(error);
      this.#fail(message, code);
    }
  }
}
