import WebSocket from "ws";

// Damaged forms and messages of a seed: the same in each run.

let state = 1;
/** A whole number below `end`. */
function random(end: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * end);
}

/** Changes, cuts out, doubles or inserts bytes, one to four times. */
function damaged(bytes: Buffer): Buffer {
  let result = Buffer.from(bytes);
  for (let times = 1 + random(4); times > 0; times--) {
    const [at, count] = [random(result.length + 1), 1 + random(40)];
    const [head, tail] = [result.subarray(0, at), result.subarray(at)];
    const kind = random(4);
    if (kind === 0 && at < result.length) result[at] = random(256);
    else if (kind === 1) result = Buffer.concat([head, tail.subarray(count)]);
    else if (kind === 2) result = Buffer.concat([head, tail.subarray(0, count), tail]);
    else if (kind === 3)
      result = Buffer.concat([head, Buffer.from("\r\n--x\r\n\0\ufeff{}[]\"'").subarray(0, count), tail]);
  }
  return result;
}

const field = (name: string, value: string): string =>
  `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const body = Buffer.from(
  field("model", "demo") +
    field("response_format", "verbose_json") +
    field("timestamp_granularities[]", "word") +
    field("temperature", "0.5") +
    field("chunking_strategy", '{"type":"server_vad","threshold":0.5}') +
    '--x\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\nRIFF----WAVE\r\n--x--\r\n',
);

/** An answer with 200, or one that refuses: 4xx in the form of OpenAI's errors, in one line. */
function isFair(status: number, answer: string): boolean {
  if (status === 200) return true;
  const { error } = JSON.parse(answer) as { error?: Record<string, unknown> };
  const { message, type, param, code } = error ?? {};
  const optional = [param, code].every((value) => value === null || typeof value === "string");
  const line = typeof message === "string" && message !== "" && !message.includes("\n");
  return status >= 400 && status < 500 && line && typeof type === "string" && optional;
}

/** @returns the answers by their status. @throws Error  an answer that is neither a result nor a refusal */
export async function fuzzBodies(url: string, count: number): Promise<string> {
  const statuses = new Map<number, number>();
  let left = count;
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const sent = damaged(body);
      const headers = { "content-type": "multipart/form-data; boundary=x" };
      const response = await fetch(url, { method: "POST", headers, body: new Uint8Array(sent) });
      const answer = await response.text();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      if (!isFair(response.status, answer))
        throw new Error(`${JSON.stringify(sent.toString("latin1"))}: ${response.status} ${answer}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, client));
  return [...statuses].map(([status, times]) => `${status}: ${times}`).join(", ");
}

const messages: Readonly<Record<string, readonly (string | Buffer)[]>> = {
  "/": [
    '{"mode":"2pass","wav_name":"a","is_speaking":true,"chunk_size":[5,10,5],"audio_fs":16000,"hotwords":"{\\"oven\\":20}","itn":true}',
    Buffer.alloc(640),
    '{"is_speaking":false}',
    '{"mode":"offline","wav_format":"wav","is_speaking":true}',
    "START",
    "HOTWORDS:a,b",
    "LANGUAGE:en",
    "COMMIT",
    "STOP",
  ],
  "/v1/realtime?intent=transcription": [
    '{"type":"session.update","session":{"type":"transcription","audio":{"input":{"format":{"type":"audio/pcm","rate":24000},"turn_detection":null,"transcription":{"model":"demo","language":"en"}}}}}',
    `{"type":"input_audio_buffer.append","audio":"${Buffer.alloc(480).toString("base64")}"}`,
    '{"type":"input_audio_buffer.commit"}',
    '{"type":"input_audio_buffer.clear"}',
    '{"type":"transcription_session.update","session":{"input_audio_format":"pcm16"}}',
  ],
};

/** Sessions of some messages each, a third of them damaged. @returns how many were closed by the server */
export async function fuzzMessages(url: string, count: number): Promise<string> {
  let left = count;
  let [sessions, closed] = [0, 0];
  const paths = Object.keys(messages);
  const client = async (): Promise<void> => {
    while (left > 0) {
      const path = paths[random(paths.length)];
      const socket = new WebSocket(url + path);
      await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
      socket.on("error", () => undefined);
      sessions++;
      for (let i = 0; i < 20 && left > 0 && socket.readyState === WebSocket.OPEN; i++, left--) {
        const message = messages[path][random(messages[path].length)];
        const bytes = random(3) > 0 ? Buffer.from(message) : damaged(Buffer.from(message));
        const binary = typeof message === "string" ? random(20) === 0 : random(20) > 0;
        await new Promise((resolve) => socket.send(binary ? bytes : bytes.toString(), resolve));
        if (random(4) === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      }
      if (socket.readyState !== WebSocket.OPEN) closed++;
      const end = new Promise((resolve) => socket.once("close", resolve));
      if (socket.readyState === WebSocket.CLOSED) continue;
      socket.terminate();
      await end;
    }
  };
  await Promise.all(Array.from({ length: 4 }, client));
  return `${sessions} sessions, ${closed} ended by the server`;
}
