import { type Socket, connect } from "node:net";

/** Sends bytes as they are. @returns what comes until the connection ends */
export function raw(address: string, ...pieces: readonly (string | Uint8Array)[]): Promise<string> {
  const socket = rawSocket(address);
  for (const piece of pieces) socket.write(piece);
  return answerOf(socket);
}

/** A connection that is not read until `answerOf` is called. */
export function rawSocket(address: string): Socket {
  const { hostname, port } = new URL(address);
  const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ""));
  socket.on("error", () => undefined);
  return socket;
}

/** All that comes until the connection ends. */
export function answerOf(socket: Socket): Promise<string> {
  let answer = "";
  socket.setEncoding("utf8").on("data", (piece: string) => (answer += piece));
  return new Promise((resolve) => socket.on("close", () => resolve(answer)));
}

/** The status of an answer. */
export function status(answer: string): number {
  return Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]);
}

/** The body of an answer, which is JSON. */
export function jsonOf(answer: string): { readonly error?: Readonly<Record<string, unknown>> } {
  return JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4)) as object;
}
