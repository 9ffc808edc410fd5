import { expect, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { type FakeEngine, type FakeLive, said } from "./fake-engine.js";

/** A WebSocket of a test: what it heard, and how to send. */
export interface Talk {
  readonly socket: WebSocket;
  readonly heard: Record<string, unknown>[];
  readonly send: (...messages: (object | string | Buffer)[]) => void;
  /** The messages so far, once there are so many. */
  readonly hears: (count: number) => Promise<Record<string, unknown>[]>;
  readonly closed: Promise<number>;
}

/** Opens a WebSocket; it is closed with the test. */
export async function talkTo(address: string, path: string, options: object = {}): Promise<Talk> {
  const socket = new WebSocket(address.replace("http", "ws") + path, options);
  onTestFinished(() => socket.terminate());
  const heard: Record<string, unknown>[] = [];
  socket.on("message", (data: Buffer) => heard.push(JSON.parse(data.toString()) as Record<string, unknown>));
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return {
    socket,
    heard,
    send: (...messages) => {
      for (const message of messages)
        socket.send(
          typeof message === "object" && !Buffer.isBuffer(message) ? JSON.stringify(message) : message,
        );
    },
    hears: async (count) => {
      await expect.poll(() => heard.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(count);
      return heard;
    },
    closed,
  };
}

/** Seconds of PCM. */
export const pcm = (seconds: number, rate = 16_000): Buffer => Buffer.alloc(2 * rate * seconds, 1);
const [first, second] = said.segments;

/** Says two sentences: the first with partial texts when audio comes, the second with the commit. */
export function twoSentences(engine: FakeEngine): void {
  engine.live = ({ listener, samples, options }: FakeLive, call) => {
    if (call === "push" && samples === 16_000) {
      listener({ type: "started", start: first.start });
      listener({ type: "partial", start: first.start, stable: "turn", tentative: "of" });
      listener({ type: "partial", start: first.start, stable: "turn on", tentative: "the" });
      listener({ type: "stopped", start: first.start, end: first.end });
      listener({ type: "final", segment: options.words ? first : { ...first, words: undefined } });
    }
    if (call === "commit") {
      listener({ type: "started", start: second.start });
      listener({ type: "stopped", start: second.start, end: second.end });
      listener({ type: "final", segment: options.words ? second : { ...second, words: undefined } });
      listener({ type: "committed", seconds: 4.5 });
    }
  };
}
